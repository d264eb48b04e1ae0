"""What the paper reports (Xiong et al., arXiv 2406.19292), to be set beside one's own numbers.

Percent right before and after fine-tuning on simple key-value retrieval with an answer
template, Mistral-7B-Instruct-v0.1; for GPT-3.5 Turbo on multi-subkey retrieval with a template,
MMLU on a fifth of it.
"""

from collections.abc import Mapping

SOURCE = "Xiong et al., arXiv 2406.19292"
MISTRAL: Mapping[str, tuple[float, float]] = {
    "mmlu": (53.42, 53.44),
    "hellaswag": (56.31, 56.22),
    "gsm8k": (34.65, 34.34),
    "triviaqa": (47.63, 47.74),
    "nq_open": (11.61, 11.98),
}
GPT_3_5: Mapping[str, tuple[float, float]] = {"mmlu": (68.07, 67.75), "gsm8k": (72.33, 71.65)}
# Change of MDQA with the gold document at position 10, points.
GPT_3_5_MDQA_10 = 10.5
