"""Hashes as words, for people who compare them by telephone.

The list is part of the protocol: it never changes. No two words share their first three letters, or
are fewer than three typing mistakes apart, so that a word that was misheard is no other word.
"""

WORDS = """
acorn adobe agent album alley amber angle april arrow ashes atlas attic autumn awning badge bamboo
banjo barrel basin beacon bench berry bishop blanket blossom bonfire border bottle bramble breeze
brick broom bucket buffalo bundle butter cactus camel canoe carpet castle cedar cello chalk chimney
cinema circus clover cobalt coconut coffee compass copper cotton cousin cradle cricket crystal
cuckoo cushion cymbal dagger daisy daylight decade delta desert diamond dinner dolphin donkey dragon
drum dune echo eclipse eighty elbow elder elephant empire engine escape evening fabric falcon family
farmer feather fennel fiddle field figure flamingo flute forest fossil fountain galaxy garden
gazelle geyser giant giraffe glacier goblet gorilla gravel grocer guitar harbour helmet heron hobby
horizon hotel hundred husky iceberg igloo indigo inkwell island ivory jaguar jasmine jigsaw journey
juniper kayak kidney kitchen kiwi koala ladder lagoon lantern lavender legend lentil lettuce library
lilac linen lizard lobster lunar lyric magnet maple meadow melody mercury meteor minute mirror
mitten mosaic muffin museum napkin nectar needle nephew nickel nomad north nugget nutmeg oatmeal
oboe ocean octagon olive onion opera orange orbit orchid ostrich palace panda paper pastry pebble
pelican picnic pigeon pillow pioneer pirate plough polar pottery prairie prism pumpkin puppet
pyramid quarry quilt rabbit recipe ribbon river robin ruby saffron sailor saturn scarf seagull
shelter sierra sister skate slipper snail soldier spinach square stable summer sunset surgeon
swallow teapot temple tennis thimble thunder tomato topaz tractor treble tulip tundra twelve
umbrella vanilla vessel victor village vinegar violin volcano voyage waffle walnut whisper window
wombat yacht yogurt zebra zenith
""".split()  # noqa: SIM905  256 lines of quotes would be no easier to read
"""256 words, sorted: a byte each."""
KEY_WORDS = 16
"""128 bits: nobody finds another key with the words of a given one."""
ROSTER_WORDS = 24
"""192 bits: whoever writes rosters could look for any two with the same words, which is easier."""


def spoken(digest: bytes, count: int) -> str:
    """`count` words for the first bytes of a hash, in groups of four."""
    words = [WORDS[byte] for byte in digest[:count]]
    return "  ".join(" ".join(words[start : start + 4]) for start in range(0, len(words), 4))
