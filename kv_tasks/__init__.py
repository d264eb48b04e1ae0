"""Long-context tasks for lm-evaluation-harness: what is asked and how it is scored.

The package imports without torch. The harness finds the tasks through the YAML files of
:func:`kv_tasks.paths.task_configs`; each names functions of this package.

Families, each with the folder of its name in task_configs/
    mdqa, mdqa_prompt, mdqa_windows     questions over documents; corpora, questions, encyclopedia
    flenqa, flenqa_data, flenqa_scores  true or false from two facts, published
    flenqa_synth, flenqa_*              the same, generated
    kv_simple, kv_multi_subkey, kv_multi_query
                                        kinds of dictionary retrieval; dictionaries, kinds,
                                        kv_windows and kv_documents are what they share
    kv_sweep, kv_uuid, general          one haystack; JSON records; the harness's own tasks

What all families use
    task, model_arguments               the harness's task, which cuts nothing in silence
    documents, scores, normalize        the fields of a document, and of a result
    tokens, windows, cache              exact numbers of tokens
    datafiles, registration             published files, task files in the harness

What is written out
    training_data, training_mdqa, training_needle
                                        prompts for trainers, in the forms of training_forms
    upstream, upstream_source           a family as a folder for the harness's own tree

What the other packages use, too
    console, errors                     command lines, and what they say of a failure
    files, paths, journal, strict_yaml  whole files or none, places, logs, YAML without twins
"""

from kv_tasks._version import __version__

__all__ = ["__version__"]
