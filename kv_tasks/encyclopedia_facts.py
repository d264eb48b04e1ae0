"""What the generated encyclopedia says: openings, fact sentences, questions and word lists.

A blank in braces is filled by :mod:`kv_tasks.encyclopedia`: ``{answer}`` with a name of the
fact's own kind; ``{title}``, ``{he}``, ``{born}`` and the like with what holds for the whole
entry; a kind of name (``{person}``, ``{town}``) with a new one; ``{year}`` and other ranges with
a new number; a key of :data:`WORDS` with a phrase of its list. Names begin with a consonant and
the lists carry their articles, so that "a" and "an" are right as written. To add a fact, add
one to a kind's list.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Fact:
    """One thing an entry can say: the kind of name that answers it, and how it is put."""

    answer: str
    questions: tuple[str, ...]
    sentences: tuple[str, ...]


@dataclass(frozen=True)
class Kind:
    """One kind of entry: how its title is made, how it opens, and what can be said of it."""

    titles: tuple[str, ...]
    openings: tuple[str, ...]
    facts: tuple[Fact, ...]


# Two-part names: a name kind or a choice, then what follows it.
NAMES: dict[str, tuple[str, ...]] = {
    "person": ("{first} {surname}",),
    "firm": ("{surname} Brothers", "{surname} Mills", "{surname} Ironworks"),
    "house": ("{surname} Press", "{surname} House", "{surname} Editions"),
    "street": ("{surname} Street", "{surname} Lane", "{surname} Quay"),
    "theatre": ("{town} Playhouse", "{surname} Theatre", "{surname} Hall"),
    "studio": ("{surname} Pictures", "{surname} Studios"),
    "paper": ("{town} Gazette", "{town} Courier", "{town} Observer"),
}

WORDS: dict[str, tuple[str, ...]] = {
    "a_calling": (
        "a botanist, remembered above all for a catalogue of mountain mosses",
        "an engraver, remembered above all for a long series of harbour views",
        "a clockmaker, known for a pendulum that kept time on ships",
        "an astronomer, known for the first reliable map of the winter sky",
        "a physician, known for early work on fevers in mining towns",
        "an architect, best known for plain brick schools and small railway stations",
        "a composer, best known for songs that are still sung at harvest",
        "a geologist, known for a patient survey of the northern salt beds",
        "an essayist, remembered for dry and funny letters to the newspapers",
        "a mathematician, known for tables that sailors used for a century",
    ),
    "a_trade": ("a cooper", "an innkeeper", "a baker", "a tailor", "an apothecary", "a ferryman"),
    "a_setting": (
        "on the southern slope of a wooded valley",
        "at the edge of a wide salt marsh",
        "below a limestone ridge with many caves",
        "on a low hill among orchards and hop fields",
        "where two old trade roads meet",
    ),
    "a_renown": ("its blue pottery", "its horse market", "its church bells", "its dried plums"),
    "a_plot": (
        "a lighthouse keeper who finds that the ships no longer come",
        "two sisters who inherit a flooded mill and cannot agree what to do",
        "a surveyor sent to map a village that nobody is willing to name",
        "an old judge who travels home to retry the first case of his life",
        "a bell founder whose last bell refuses to ring",
        "an orphan who is mistaken for the heir of a ruined castle",
    ),
    "a_business": (
        "a maker of measuring instruments",
        "a maker of printing machines",
        "a builder of lifts and cranes",
        "a producer of optical glass",
        "a maker of bicycles and sewing machines",
        "a maker of lamps and lanterns",
    ),
    "number": ("three", "four", "five", "six", "seven", "nine"),
}

PERSON = Kind(
    titles=("{person}",),
    openings=(
        "{title} ({born}–{died}) was {a_calling}.",
        "{title}, who lived from {born} to {died}, was {a_calling}.",
    ),
    facts=(
        Fact(
            "town",
            ("where was {title} born", "in which town was {title} born"),
            (
                "{He} was born in {answer}, the youngest of {number} children of {a_trade}.",
                "The family lived in {answer}, where {he} was born above the shop of {a_trade}.",
            ),
        ),
        Fact(
            "person",
            ("who was the teacher of {title}", "who taught {title} as a child"),
            (
                "As a child {he} was taught by {answer}, whose strict methods {he} later "
                "described with affection.",
                "{His} only teacher in childhood was {answer}, who lent {him} books and "
                "corrected {his} first drawings.",
            ),
        ),
        Fact(
            "person",
            ("who did {title} marry", "who was {title} married to"),
            (
                "In {year} {he} married {answer}, with whom {he} had {number} children and "
                "shared a house until {his} death.",
                "{He} married {answer} in {year}, after an engagement that had lasted "
                "{number} years.",
            ),
        ),
        Fact(
            "firm",
            ("which firm did {title} first work for", "who was the first employer of {title}"),
            (
                "{His} first post was with {answer}, where {he} kept the accounts for "
                "{number} years.",
                "Before turning to {his} later work {he} was employed by {answer}, {his} first "
                "employer, as a junior clerk.",
            ),
        ),
        Fact(
            "person",
            ("who was the lifelong rival of {title}", "who was the rival of {title}"),
            (
                "A lifelong rival, {answer}, attacked {his} methods in a pamphlet of {year}, to "
                "which {he} never replied.",
                "{His} lifelong rival was {answer}, and their public quarrel of {year} filled "
                "the newspapers for {number} weeks.",
            ),
        ),
        Fact(
            "town",
            ("where is {title} buried", "in which village is {title} buried"),
            (
                "{He} is buried in the village of {answer}, under a plain stone that {his} "
                "pupils paid for.",
                "{His} grave is in the churchyard of the village of {answer}, beneath a row of "
                "{number} lime trees.",
            ),
        ),
        Fact(
            "ship",
            ("what ship did {title} sail on", "on which ship did {title} sail south"),
            (
                "In {year} {he} sailed south aboard the {answer}, a survey ship, and filled "
                "{number} notebooks on the way.",
                "The longest journey of {his} life was a voyage south on the ship {answer}, "
                "which left harbour in {year}.",
            ),
        ),
        Fact(
            "street",
            ("what street did {title} live on", "on which street was the home of {title}"),
            (
                "For most of {his} life {he} lived at {answer}, in rooms crowded with papers "
                "and unfinished work.",
                "{His} home at {answer} is now a small museum, open to visitors {number} "
                "months of the year.",
            ),
        ),
    ),
)

PLACE = Kind(
    titles=("{town}",),
    openings=(
        "{title} is a market town {a_setting}, known in the region for {a_renown}.",
        "{title}, a town of some {thousands},000 inhabitants, lies {a_setting} and is known for "
        "{a_renown}.",
    ),
    facts=(
        Fact(
            "person",
            ("who founded the town of {title}", "who was the founder of {title}"),
            (
                "According to its oldest charter the town was founded in {past} by {answer}, "
                "{a_trade} who had left the coast.",
                "Its founder was {answer}, who was granted the land in {past} for services as "
                "{a_trade}.",
            ),
        ),
        Fact(
            "river",
            ("what river runs through {title}", "which river flows through {title}"),
            (
                "The river {answer} runs through the middle of the town and is crossed there "
                "by {number} bridges.",
                "Its old quarter is built along the river {answer}, which floods the lower "
                "streets every {number} years or so.",
            ),
        ),
        Fact(
            "person",
            (
                "who designed the town hall of {title}",
                "who was the architect of the town hall in {title}",
            ),
            (
                "The town hall, completed in {year}, was designed by {answer} and has a clock "
                "with {number} bells.",
                "{answer} was the architect of the present town hall, which replaced a wooden "
                "building that burned down in {year}.",
            ),
        ),
        Fact(
            "town",
            ("what is the twin town of {title}", "which town is twinned with {title}"),
            (
                "Since {recent} it has been twinned with {answer}, and school choirs of the "
                "two towns visit each other every summer.",
                "Its twin town is {answer}, which sends a fir tree for the main square every "
                "winter since {recent}.",
            ),
        ),
        Fact(
            "paper",
            (
                "what is the name of the local newspaper in {title}",
                "what newspaper is printed in {title}",
            ),
            (
                "The local newspaper, the {answer}, has been printed here since {year} and "
                "appears {number} times a week.",
                "News of the valley is printed in the {answer}, a local newspaper founded by "
                "{a_trade} in {year}.",
            ),
        ),
        Fact(
            "person",
            ("who was the first mayor of {title}", "who became the first mayor of {title}"),
            (
                "The first mayor was {answer}, {a_trade} by training, who held the office for "
                "{number} terms from {year}.",
                "In {year} the citizens chose their first mayor, {answer}, by a majority of "
                "only {number} votes.",
            ),
        ),
        Fact(
            "dish",
            ("what cheese is made in {title}", "what is the local cheese of {title}"),
            (
                "A hard local cheese called {answer} is made on the surrounding farms and "
                "ripened for {number} months.",
                "Visitors come in autumn to taste {answer}, the local cheese, which was first "
                "described in {year}.",
            ),
        ),
        Fact(
            "street",
            ("what is the oldest street in {title}", "which street is the oldest in {title}"),
            (
                "The oldest street is {answer}, where {number} houses from before the great "
                "fire are still lived in.",
                "Traces of a wall were found in {recent} beneath {answer}, which is the oldest "
                "street of the town.",
            ),
        ),
    ),
)

# Facts that books, operas and films have in common.
_WORK = (
    Fact(
        "person",
        ("who is {title} dedicated to", "to whom was {title} dedicated"),
        (
            "It is dedicated to {answer}, an old friend who had lent money during {number} "
            "difficult winters.",
            "The dedication names {answer}, {a_trade} who is said to have told the story first.",
        ),
    ),
    Fact(
        "person",
        ("who is the main character in {title}", "what is the name of the hero of {title}"),
        (
            "The main character is called {answer}, and is said to be modelled on {a_trade} of "
            "the neighbourhood.",
            "Its main character, {answer}, was so well liked that {number} imitations appeared "
            "within a few years.",
        ),
    ),
    Fact(
        "town",
        ("where does {title} take place", "in which town is {title} set"),
        (
            "The story takes place in {answer}, an imaginary harbour town with {number} churches "
            "and no railway.",
            "It is set in the imaginary town of {answer}, during a single week of a very hot "
            "summer.",
        ),
    ),
    Fact(
        "paper",
        ("which newspaper first praised {title}", "what newspaper first praised {title}"),
        (
            "The {answer} was the first newspaper to praise it, and most other critics followed "
            "within {number} weeks.",
            "At first it was ignored, until the newspaper {answer} praised it on its front page "
            "in {later}.",
        ),
    ),
)

BOOK = Kind(
    titles=("The Lamps of {place}", "A Winter in {place}", "The {place} Letters"),
    openings=(
        "{title} is a novel of {begun} about {a_plot}.",
        "{title}, a novel in {number} parts that appeared in {begun}, tells of {a_plot}.",
    ),
    facts=(
        *_WORK,
        Fact(
            "person",
            ("who wrote the novel {title}", "who is the author of {title}"),
            (
                "Its author, {answer}, had worked on it for {number} years and destroyed all "
                "earlier versions.",
                "It was written by {answer}, who at the time earned a living as {a_trade}.",
            ),
        ),
        Fact(
            "house",
            ("who published the novel {title}", "who was the publisher of {title}"),
            (
                "It was published by {answer}, after {number} other publishers had sent the "
                "manuscript back unread.",
                "The first publisher was {answer}, whose small printing was sold out within "
                "{number} days.",
            ),
        ),
        Fact(
            "person",
            ("who illustrated the novel {title}", "who drew the pictures in {title}"),
            (
                "The pictures in the first edition were drawn by {answer}, who was paid for "
                "only {number} of them.",
                "An edition of {later} was illustrated by {answer} with woodcuts in black and "
                "dark green.",
            ),
        ),
    ),
)

OPERA = Kind(
    titles=("The Bells of {place}", "The Return to {place}", "The {place} Wedding"),
    openings=(
        "{title} is an opera in three acts, first performed in {begun}, about {a_plot}.",
        "{title}, a comic opera of {begun} that lasts about two hours, concerns {a_plot}.",
    ),
    facts=(
        *_WORK,
        Fact(
            "person",
            ("who composed the opera {title}", "who wrote the music for {title}"),
            (
                "The music was composed by {answer} in only {number} months, much of it during a "
                "stay by the sea.",
                "Its composer, {answer}, conducted the first {number} evenings and then fell out "
                "with the orchestra.",
            ),
        ),
        Fact(
            "theatre",
            ("where was the opera {title} first performed", "where did {title} open"),
            (
                "The first performance was given at the {answer}, where part of the scenery "
                "caught fire on the second evening.",
                "It opened at the {answer} before an audience of {number} hundred, among them "
                "most of the city council.",
            ),
        ),
        Fact(
            "person",
            ("who wrote the libretto of {title}", "who was the librettist of {title}"),
            (
                "The libretto is by {answer}, who shortened an old ballad of {number} hundred "
                "verses.",
                "Its librettist was {answer}, until then known only as the writer of "
                "{number} short farces.",
            ),
        ),
    ),
)

FILM = Kind(
    titles=("The Road to {place}", "Last Train from {place}", "The {place} Affair"),
    openings=(
        "{title} is a black-and-white film of {modern} about {a_plot}.",
        "{title}, a film released in {modern} after {number} years of work, follows {a_plot}.",
    ),
    facts=(
        *(fact for fact in _WORK if fact.answer != "paper"),
        Fact(
            "person",
            ("who directed the film {title}", "who was the director of {title}"),
            (
                "It was directed by {answer}, who insisted on shooting every scene outdoors "
                "and in the right season.",
                "The director, {answer}, had made {number} short documentaries before and never "
                "worked with actors.",
            ),
        ),
        Fact(
            "studio",
            ("which studio made the film {title}", "what studio produced {title}"),
            (
                "It was produced by the studio {answer}, which had to sell its costume store "
                "to pay for the ending.",
                "The studio {answer} made it on a small budget, using sets left over from "
                "{number} other productions.",
            ),
        ),
        Fact(
            "person",
            ("who composed the score of {title}", "who wrote the music for the film {title}"),
            (
                "The score by {answer} uses {number} instruments only and is often played in "
                "concert halls.",
                "Its music was written by {answer}, who recorded it in a village church over "
                "{number} nights.",
            ),
        ),
        Fact(
            "town",
            ("where was the film {title} shot", "in which town was {title} filmed"),
            (
                "Most of it was shot in {answer}, whose inhabitants appear in the market scenes "
                "without pay.",
                "It was filmed in {answer} during {number} rainy weeks, which explains the "
                "umbrellas in the wedding scene.",
            ),
        ),
    ),
)

COMPANY = Kind(
    titles=("{place} Instruments", "{place} Works", "{place} and Sons"),
    openings=(
        "{title} is {a_business} that began in {begun} with one workshop and {number} workers.",
        "{title}, {a_business}, was established in {begun} and is owned by {number} families.",
    ),
    facts=(
        Fact(
            "person",
            ("who founded the company {title}", "who was the founder of {title}"),
            (
                "The founder, {answer}, was the child of {a_trade} and had learned the business "
                "abroad.",
                "It was founded by {answer}, who borrowed the money from {a_trade} and paid it "
                "back within {number} years.",
            ),
        ),
        Fact(
            "street",
            (
                "what street is the headquarters of {title} on",
                "where is the head office of {title}",
            ),
            (
                "The head office is at {answer}, in a former granary with {number} floors and "
                "a glass roof.",
                "Its headquarters moved to {answer} in {later}, when the first buildings had "
                "become too small.",
            ),
        ),
        Fact(
            "product",
            ("what was the first product of {title}", "what was the first model made by {title}"),
            (
                "Its first product, sold under the name {answer}, remained in the catalogue for "
                "{number} decades.",
                "The company made its name with the {answer}, its first product, of which a few "
                "still work today.",
            ),
        ),
        Fact(
            "firm",
            ("who was the main competitor of {title}", "which firm was taken over by {title}"),
            (
                "In {later} it took over its main competitor, {answer}, together with {number} "
                "patents and a foundry.",
                "Its main competitor for many years was {answer}, which it took over after a "
                "lawsuit in {later}.",
            ),
        ),
        Fact(
            "person",
            ("who was the chief engineer of {title}", "who became chief engineer at {title}"),
            (
                "The chief engineer from {later} was {answer}, to whom the company owes "
                "{number} of its best patents.",
                "Many of its designs go back to {answer}, the chief engineer, who joined at "
                "the age of seventeen.",
            ),
        ),
        Fact(
            "town",
            ("in which town is the factory of {title}", "where is the main factory of {title}"),
            (
                "The main factory stands in {answer}, beside a canal that once carried coal and "
                "finished goods.",
                "Since {later} its main factory has been in {answer}, where every third family "
                "has someone on the staff.",
            ),
        ),
        Fact(
            "person",
            ("who designed the logo of {title}", "who drew the emblem of {title}"),
            (
                "The emblem, a heron on one leg, was drawn by {answer} for a trade fair in "
                "{later}.",
                "Its logo was designed by {answer}, who asked for {number} bottles of wine and no "
                "other payment.",
            ),
        ),
    ),
)

KINDS = (PERSON, PLACE, BOOK, OPERA, FILM, COMPANY)
