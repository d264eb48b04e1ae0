"""``python -m kv_train``, and ``accelerate launch -m kv_train`` for several processes."""

import os

from kv_tasks import console
from kv_train.cli import main

if __name__ == "__main__":
    # All processes say the same and the first one is enough, but for what ends one of them.
    console.out.quiet = console.err.quiet = os.environ.get("RANK", "0") != "0"
    main()
