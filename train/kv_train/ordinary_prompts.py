"""Ordinary prompts, of no data set: what a model should go on answering as it did before.

Explanations, lists and poems on everyday subjects, small sums in words (alone, and after worked
examples, whose form an answer has to follow), sentences to rewrite, choices of four, questions of
geography. Made from the lists below by seed. No task evaluates any of them; worked sums and
choices have the layout that GSM8K and MMLU have in the harness, which is the point of them.
"""

import random

from kv_tasks.errors import UsageError

SUBJECTS = (
    "photosynthesis", "the water cycle", "how vaccines work", "compound interest",
    "the printing press", "bridges", "glaciers", "the human heart", "bread baking",
    "electric motors", "volcanoes", "coral reefs", "jazz music", "chess openings", "recycling",
    "solar panels", "tides", "earthquakes", "the immune system", "bicycles", "honey bees",
    "the Silk Road", "telescopes", "inflation", "gravity", "sleep", "public libraries",
    "rainforests", "composting", "lighthouses", "paper making", "batteries",
    "migration of birds", "deserts", "the alphabet", "clocks", "sailing", "coffee growing",
    "origami", "soil", "thunderstorms", "whales", "friction", "maps", "the Olympic Games",
    "pottery", "antibiotics", "the moon's phases", "city parks", "steam engines",
    "rice farming", "mirrors", "magnets", "fermentation", "the scientific method", "insulation",
    "knitting", "river deltas", "encryption", "team sports", "gardening in winter", "first aid",
    "public speaking", "budgeting", "typography", "weather forecasts", "dams", "sourdough",
    "camping", "learning a language", "radio waves", "owls", "glass", "concrete", "windmills",
    "fireworks", "proteins", "fossils", "monsoons", "submarines", "airports", "candles",
    "optical illusions", "time zones",
)  # fmt: skip
ABOUT = (
    "Explain {} in simple terms.",
    "Write two sentences about {}.",
    "What are three interesting facts about {}?",
    "Give me a short introduction to {}.",
    "What is the use of knowing about {}? Answer in one paragraph.",
    "Write a short poem about {}.",
    "List some common mistakes people make about {}.",
    "How would you teach {} to a ten-year-old?",
    "Describe {} as if to a tourist.",
    "What questions should I ask to learn more about {}?",
)
SENTENCES = (
    "The dog waits at the gate every evening.",
    "We need the report by Friday.",
    "She opens the old box and finds a letter.",
    "Give me the keys.",
    "The meeting is too long and nobody listens.",
    "A small boat crosses the lake at dawn.",
    "Where do you keep the spare lamp?",
    "The baker forgets the salt again.",
    "He walks home in the rain and sings.",
    "The museum closes at five on Sundays.",
    "They paint the fence green.",
    "Can you send the photos tonight?",
)
REWRITING = (
    "Rewrite this sentence in the past tense: {}",
    "Make this sentence more polite: {}",
    "Put this sentence into a formal tone: {}",
    "Continue this story with two more sentences: {}",
    "Is this sentence a question, a statement or a request? {}",
)
CHOICES = {
    "Which of these is a metal?": ("wood", "iron", "glass", "cotton"),
    "Which of these animals can fly?": ("horse", "eagle", "shark", "snail"),
    "Which is the largest number?": ("17", "71", "7", "27"),
    "Which one is a fruit?": ("carrot", "pear", "potato", "onion"),
    "Which of these do you wear on your feet?": ("gloves", "socks", "hats", "scarves"),
    "Which is a season?": ("Monday", "winter", "noon", "March"),
    "What do plants need to grow?": ("sunlight", "plastic", "sand paper", "noise"),
    "Which tool cuts paper?": ("hammer", "scissors", "ladder", "spoon"),
    "Which of these is a liquid at room temperature?": ("steel", "water", "stone", "salt"),
    "Which shape has three sides?": ("square", "triangle", "circle", "pentagon"),
}
GEOGRAPHY = (
    "What is the capital of {}?",
    "On which continent is {}?",
    "Name one river in {}.",
    "What language do most people speak in {}?",
)
COUNTRIES = (
    "France", "Japan", "Brazil", "Egypt", "Canada", "Italy", "Kenya", "Norway", "Peru", "India",
    "Greece", "Mexico", "Vietnam", "Poland", "Chile", "Morocco",
)  # fmt: skip
NAMES = (
    "Ana", "Ben", "Carla", "Deniz", "Emil", "Fatima", "Goran", "Hana", "Igor", "Julia", "Kofi",
    "Lena", "Marco", "Nadia", "Omar", "Petra", "Quinn", "Rosa", "Sami", "Tara", "Uli", "Vera",
    "Will", "Xenia", "Yara", "Zoe",
)  # fmt: skip
THINGS = (
    "apples", "pencils", "marbles", "tickets", "cookies", "stamps", "books", "coins", "shells",
    "cards",
)  # fmt: skip
SUMS, WORKED_SUMS = 90, 110


def ordinary_prompts(count: int | None = None, seed: int = 0) -> list[str]:
    """Return that many ordinary prompts, all by default, each once, in an order of the seed.

    Raises:
        UsageError: when there are fewer.
    """
    rng = random.Random(f"ordinary-prompts:{seed}")
    made = [form.format(about) for about in SUBJECTS for form in rng.sample(ABOUT, 2)]
    for _ in range(SUMS):
        form = rng.choice(["{}", "{} Think step by step.", "Question: {}\nAnswer:"])
        made.append(form.format(_sum(rng)[0]))
    made += [_after_examples(rng) for _ in range(WORKED_SUMS)]
    made += [form.format(sentence) for form in REWRITING for sentence in SENTENCES]
    made += [_choice(rng, question) for question in CHOICES for _ in range(4)]
    made += [form.format(country) for form in GEOGRAPHY for country in COUNTRIES]
    made = list(dict.fromkeys(made))
    if count is not None and count > len(made):
        raise UsageError(
            f"--samples {count}: there are {len(made)} ordinary prompts; ask for fewer, or give a "
            "file of yours by --prompts"
        )
    rng.shuffle(made)
    return made[:count]


def _sum(rng: random.Random) -> tuple[str, str]:
    """Return a small sum in words and how it is worked out."""
    one, other = rng.sample(NAMES, 2)
    things = rng.choice(THINGS)
    many, some, few = rng.randint(25, 60), rng.randint(2, 20), rng.randint(2, 9)
    asked, worked, result = rng.choice(
        [
            (
                f"{one} has {many} {things} and gives {some} to {other}. How many {things} does "
                f"{one} have left?",
                f"{one} starts with {many} {things} and gives away {some}. {many} - {some}",
                many - some,
            ),
            (
                f"{one} buys {few} boxes with {some} {things} in each. How many {things} are there "
                "in all?",
                f"Each box has {some} {things}, and there are {few} boxes. {some} * {few}",
                some * few,
            ),
            (
                f"{one} has {many} {things}. {other} has {some} more than {one}. How many do they "
                "have together?",
                f"{other} has {many} + {some} = {many + some} {things}. Together they have "
                f"{many} + {many + some}",
                2 * many + some,
            ),
            (
                f"A train travels {some * 10} kilometres an hour for {few} hours. How far does it "
                "go?",
                f"Distance is speed times time. {some * 10} * {few}",
                some * 10 * few,
            ),
            (
                f"{one} shares {some * few} {things} equally among {few} friends. How many does "
                "each friend get?",
                f"There are {some * few} {things} for {few} friends. {some * few} / {few}",
                some,
            ),
        ]
    )
    return asked, f"{worked} = {result}. The answer is {result}."


def _after_examples(rng: random.Random) -> str:
    """Return a sum after two to five that are worked out, in a form to follow."""
    examples = [_sum(rng) for _ in range(rng.randint(2, 5))]
    shown = [f"Question: {asked}\nAnswer: {worked}" for asked, worked in examples]
    return "\n\n".join([*shown, f"Question: {_sum(rng)[0]}\nAnswer:"])


def _choice(rng: random.Random, question: str) -> str:
    options = rng.sample(CHOICES[question], 4)
    lines = [f"{letter}. {option}" for letter, option in zip("ABCD", options, strict=True)]
    return "\n".join([question, *lines, "Answer:"])
