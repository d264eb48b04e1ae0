"""What the generated FLenQA problems are about: names, relations, rooms, properties, sentences.

A blank in braces is filled by :mod:`kv_tasks.flenqa_problems`: ``{fact}`` with the key sentence,
``{first}`` and ``{second}`` with the two that it is about, ``{property}`` with what is said of
the first. No sentence adds to the key sentence. The names are common ones, of one token or two.
"""

# Split between key facts and padding by kv_tasks.flenqa_problems: neighbours in the alphabet
# go to different sides, so that neither side is told by its letters.
_FIRST_NAMES = """
    Aaron Abigail Adam Agnes Alan Albert Alexander Alfred Alice Alicia Allison Amanda Amelia
    Amy Andrea Andrew Angela Anna Anthony Arthur Audrey Barbara Beatrice Benjamin Bernard
    Beth Bradley Brandon Brenda Brian Bridget Caleb Cameron Carl Carolyn Catherine Cecilia Charles
    Charlotte Cheryl Christina Christopher Clara Claire Connor Craig Crystal Cynthia Daniel
    Danielle David Deborah Denise Dennis Derek Diana Dominic Donald Donna Dorothy Douglas Duncan
    Dylan Edith Edward Eileen Elaine Eleanor Elena Elizabeth Emily Emma Eric Erin Ethan Eugene
    Evelyn Felix Fiona Frances Frederick Gabriel Gareth Gary Geoffrey George Gerald Gilbert Gloria
    Gordon Gregory Hannah Harold Harriet Heather Helen Henry Herbert Howard Hugh Ian Irene Isaac
    Isabel Jacob James Janet Jason Jeffrey Jennifer Jeremy Jessica Joanna Joel Jonathan Joseph
    Joshua Judith Julia Julian Justin Karen Katherine Keith Kenneth Kevin Kimberly Laura Lauren
    Lawrence Leonard Lewis Linda Louise Lucy Malcolm Marcus Margaret Maria Marion Martha Martin
    Matthew Megan Melissa Michael Michelle Miranda Monica Nancy Natalie Nathan Nicholas Nicole
    Nigel Nora Norman Olivia Oscar Owen Pamela Patricia Patrick Paul Peter Philip Rachel Ralph
    Raymond Rebecca Richard Robert Roger Ronald Rosemary Russell Ruth Samantha Samuel Sandra Sarah
    Sebastian Sharon Simon Sophie Stanley Stella Stephen Stuart Susan Sylvia Teresa Theodore Thomas
    Timothy Tobias Tracy Vanessa Veronica Victoria Vincent Walter Wendy William Yvonne
"""
_SURNAMES = """
    Abbott Adams Aldridge Allen Anderson Andrews Armstrong Arnold Atkinson Bailey Barker Barnett
    Barton Beckett Benson Bentley Blackwell Bowen Bradshaw Brennan Briggs Bryant Buckley Burgess
    Burke Burton Caldwell Campbell Carlson Carroll Chandler Clarke Clayton Coleman Collins Connolly
    Cooke Crawford Cunningham Dalton Davidson Davies Dawson Dixon Donovan Doyle Duffy Dunn Eaton
    Edwards Elliott Ellis Emerson Erickson Evans Ferguson Fitzgerald Fleming Fletcher Forbes Foster
    Fraser Freeman Gallagher Gardner Garrett Gibson Gilmore Goodwin Graham Gregson Griffin Hamilton
    Hammond Hansen Hardwick Harper Harris Harrison Hawkins Henderson Hewitt Higgins Hoffman Holloway
    Hopkins Hudson Hughes Hutchinson Jackson Jacobs Jenkins Jennings Jensen Johnson Johnston
    Kelly Kendall Kennedy Kirby Lambert Larson Lawson Lindsay Lloyd Logan Lowell Lynch
    MacDonald Maddox Maloney Manning Marshall Mathews Maxwell McCarthy McKenzie Meredith Middleton
    Mitchell Montgomery Morgan Morris Morrison Murphy Murray Nelson Newman Nicholson Norton
    Olsen Osborne Palmer Parker Patterson Pearson Perkins Perry Peterson Phillips
    Porter Powell Preston Quinn Ramsey Reynolds Richardson Riley Roberts Robertson Robinson Rogers
    Ross Rowland Ryan Sanders Saunders Sawyer Schmidt Shaw Sheldon Simmons Simpson Sinclair Slater
    Spencer Stevens Stevenson Stewart Sullivan Sutton Thompson Thornton Tucker Turner Underwood
    Vaughan Wallace Walsh Walton Warren Watkins Watson Webster Whitaker Wilkinson Williams Willis
    Wilson Winslow Woodward Wright
"""
FIRST_NAMES = tuple(_FIRST_NAMES.split())
SURNAMES = tuple(_SURNAMES.split())

# Every one is transitive, and excludes its inverse.
COMPARATIVES = (
    "older", "younger", "taller", "shorter", "heavier", "lighter", "faster", "slower", "stronger",
    "weaker", "richer", "poorer", "larger", "smaller", "wiser", "braver",
)  # fmt: skip

ROOMS = (
    "living room", "dining room", "great hall", "kitchen", "bedroom", "study", "library",
    "workshop", "attic", "cellar", "guest room", "music room", "sewing room", "waiting room",
    "drawing room", "pantry",
)  # fmt: skip
# Of the properties of one row a room has one: to have it is not to have the others. All begin
# with a consonant, since a question says "a" before them.
PROPERTIES = (
    ("blue-walled", "red-walled", "green-walled", "white-walled", "yellow-walled"),
    ("marble-floored", "wooden-floored", "stone-floored", "carpet-floored", "tile-floored"),
    ("high-ceilinged", "low-ceilinged"),
    ("brightly lit", "dimly lit"),
    ("north-facing", "south-facing", "west-facing"),
    ("square-shaped", "circular", "triangular", "hexagonal"),
)

# None implies or excludes another, so that nothing follows from two of them but by the rule.
ADJECTIVES = (
    "tall", "kind", "brave", "quiet", "rich", "young", "clever", "furry", "hungry", "patient",
    "famous", "strong", "tidy", "honest", "cheerful", "thirsty", "green", "round", "curious",
    "punctual",
)  # fmt: skip

COMPARISON_SENTENCES = (
    "Nobody who has met the two of them would claim the opposite.",
    "Ask anyone in the street, and you will hear that {fact}.",
    "Compared in this respect, {first} and {second} leave no doubt about the result.",
    "The comparison between {first} and {second} has been made many times, always with one result.",
    "It was so in spring, it was so in autumn, and nothing about it has changed since.",
    "Their neighbours settled the question long ago and agreed that {fact}.",
    "It takes no measuring and no record to see it, for it is plain at first sight.",
    "Whoever writes about {first} sooner or later mentions that {fact}.",
    "The matter is so well known that people hardly speak of it any more.",
    "Not even {second} has ever disputed it, and anyone who asks is told the same.",
)  # fmt: skip
ROOM_SENTENCES = (
    "Every visitor notices at once that {fact}.",
    "Those who described {first} in letters never left this out.",
    "It has been so since the house was built, and nobody plans to change it.",
    "A drawing of {first} that hangs in the corridor shows the same.",
    "When guests are told about the house, they hear sooner or later that {fact}.",
    "The builders wanted it so, and the people of the house have come to like it.",
    "Nobody who has stood at the door of {first} could be mistaken about it.",
    "An old inventory of the house says in plain words that {fact}.",
)  # fmt: skip
PRESENCE_SENTENCES = (
    "Anyone who is looking for {first} should go there and nowhere else.",
    "The others in the house have been told that {fact}.",
    "It has been so for the whole of the day, and no one expects it to change soon.",
    "A note on the front door says that {fact}.",
    "People have knocked, looked in, and found {first} exactly there.",
    "Of all the places in the house this is the one, and there has been no doubt about it.",
    "Whoever asks after {first} gets the answer that {fact}.",
    "That is where the housekeeper saw {first}, and that is what everybody says.",
)  # fmt: skip
TRAIT_SENTENCES = (
    "Everyone who knows {first} will tell you so without being asked.",
    "In the village it is common knowledge that {fact}.",
    "It was noticed early on, and it has never been otherwise.",
    "There are many ways to describe {first}, and {property} is a word that nobody leaves out.",
    "Friends and strangers agree on this point, which seldom happens.",
    "A visitor who stayed for one afternoon went home and reported that {fact}.",
    "How {property} {first} is has been the subject of many conversations.",
    "No one has ever doubted it, and no one has had a reason to.",
    "If you were asked to name someone who is {property}, {first} would come to mind.",
)  # fmt: skip
