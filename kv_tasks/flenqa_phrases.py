"""What the generated running text is made of: sentence patterns, and phrases for their blanks.

A blank in braces is filled by :mod:`kv_tasks.flenqa_text` with a phrase of that name; a phrase
may have a blank itself. Every phrase fits every other, and none names a person or a room.
"""

WORDS: dict[str, tuple[str, ...]] = {
    "when": (
        "Before the market opened", "Towards evening", "On the first dry day",
        "After the second bell", "Late in the afternoon", "While the rain lasted",
        "In the week of the fair", "Long before sunrise", "When the fog had lifted",
        "At the end of the month", "During the harvest", "Once the ice had gone",
        "Some days later", "By the light of a lantern", "As soon as the gates were shut",
        "On the way back",
    ),
    "who": (
        "the ferryman", "the baker", "the postman", "an old shepherd", "the miller",
        "the schoolteacher", "a travelling clockmaker", "the innkeeper", "two fishermen",
        "the bell ringer", "a clerk of the town hall", "the carpenter", "some of the harvesters",
        "the lock keeper", "a seller of baskets", "the gardeners", "the coachman",
        "several children", "the blacksmith", "a surveyor",
    ),
    "carried": (
        "carried", "brought", "sent", "hauled", "delivered", "returned", "took", "rolled",
    ),
    "did": (
        "looked for", "counted", "repaired", "bought", "sold", "forgot", "hid", "painted",
        "weighed", "borrowed", "found", "described",
    ),
    "what": (
        "two barrels of cider", "a load of planks", "the broken lamp", "a sack of barley",
        "seven coils of rope", "a crate of apples", "the spare oars", "a bundle of letters",
        "three copper kettles", "the long ladder", "a basket of eggs", "an unfinished map",
        "the church candles", "a roll of sailcloth", "four cartwheels", "a jar of honey",
        "the winter blankets", "a box of nails", "half a dozen lanterns", "a cask of tar",
    ),
    "place": (
        "the mill", "the harbour", "the upper bridge", "the toll house", "the orchard",
        "the old quarry", "the market square", "the boat shed", "the ford", "the railway station",
        "the chapel on the hill", "the tannery", "the salt meadows", "the brickworks",
        "the edge of the wood", "the lighthouse",
    ),
    "thing": (
        "The road to {place}", "The path along the river", "The yard behind {place}",
        "The ditch beside {place}", "The slope above {place}", "The lane between the hedges",
        "The ground near {place}", "The field behind {place}", "The meadow below {place}",
        "The landing stage",
    ),
    "state": (
        "was empty", "lay under water", "was covered with leaves", "could hardly be seen",
        "was full of carts", "smelled of smoke and hay", "was white with frost",
        "had been swept clean", "was louder than usual", "seemed to belong to the crows",
        "was muddy and deep in ruts", "was closed to wagons",
    ),
    "until": (
        "until noon", "for most of the week", "as it was every year", "after the storm",
        "in spite of the season", "from one end to the other", "when the first boats came in",
        "while the bells were ringing", "until somebody opened the sluice",
        "since the night before", "to the surprise of the coachman",
        "and it stayed so through the winter",
    ),
    "why": (
        "because the river was still rising", "although nobody had asked for it",
        "since there was nothing else to do", "in return for a day of work",
        "without saying a word about it", "so that the mill could open again",
        "before anyone had noticed", "as had been agreed in the spring",
        "because the price had fallen", "in the hope of better weather",
        "and went home by the longer road", "and nobody thought it strange",
    ),
    "topic": (
        "the frost", "the price of wool", "the new bridge", "the missing boat",
        "last year's flood", "the fair", "a light on the water", "the late train", "the bees",
        "the well that had run dry", "a wedding in the next valley", "the price of candles",
    ),
    "spoke": (
        "spoke of", "complained about", "laughed about", "asked about",
        "wrote to the newspaper about", "argued about", "told a long story about",
        "had an opinion on",
    ),
    "animal": (
        "a grey heron", "the ferry dog", "a flock of starlings", "a tired horse", "three geese",
        "the miller's cat", "an owl", "a herd of goats", "a pair of swans", "a stray calf",
    ),
    "moved": (
        "crossed the road near", "was seen close to", "rested in the shade of",
        "came out of the reeds beside", "disappeared behind", "waited in front of",
        "made a great noise near", "kept watch over",
    ),
    "weather": (
        "a thin rain fell on", "the wind turned and blew from", "mist rose from the fields around",
        "the sun came out above", "snow lay on the roof of", "the first warm air reached",
        "hail drummed on the windows of", "a long shadow fell across",
    ),
}  # fmt: skip
PATTERNS = (
    "{when}, {who} {carried} {what} to {place}.",
    "{when}, {who} {carried} {what} from {place} to {place}, {why}.",
    "{when}, {who} {did} {what} near {place}.", "{who} {did} {what} at {place}, {why}.",
    "{who} {carried} {what} and {what} to {place}, {why}.", "{thing} {state} {until}.",
    "{thing} {state} {until}, and {who} {spoke} {topic}.", "{when}, {who} {spoke} {topic}, {why}.",
    "{when}, {weather} {place}, and {animal} {moved} {place}.",
    "{when}, {animal} {moved} {place} while {who} {did} {what}.",
    "{who} {spoke} {topic}, but {who} {did} {what} and {spoke} {topic}.",
    "At {place}, where {who} {did} {what}, {weather} {place}.",
)  # fmt: skip
