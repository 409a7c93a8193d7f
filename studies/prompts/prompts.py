"""Which prompts is an instruction-tuned model distilled and tested on? Each task of a list about topics of another.

    python -m studies.prompts.prompts --output runs/instruct            # train.txt (2,000) and test.jsonl (100)

Topics of the two files are disjoint, and four of the tests' tasks occur in no training prompt. A test has two or three
keywords that suit its topic, and a range of words between 30 and 120. The lists were written for this; nothing is taken
from a benchmark.
"""

from __future__ import annotations

import itertools
import json
import random
from pathlib import Path
from typing import Any

from ctrlg.files.atomic import atomic_file
from ctrlg.files.disk import writable_folder
from ctrlg.terminal.console import as_program, say
from ctrlg.terminal.flags import PlainArgumentParser

TASKS = """
Write a short story about {}.
Write a story of about fifty words about {}.
Write a long, detailed story about {} with a surprising end.
Write the first paragraph of a novel about {}.
Write a poem about {}.
Describe {} to someone who has never seen it.
Describe {} in one sentence.
Describe the sounds and smells of {}.
Explain {} to a child of ten.
Explain in simple words why people care about {}.
Explain {} step by step.
What is interesting about {}?
What should everyone know about {}?
Give three facts about {}.
Give me some advice about {}.
Write a letter to a friend about {}.
Write a short e-mail to a colleague about {}.
Write a diary entry about {}.
Write a newspaper report about {}.
Write an advertisement for {}.
Write a dialogue between two neighbours about {}.
Write a speech about {}.
Write a product review about {}.
Write instructions for a beginner about {}.
Summarize what is known about {}.
Compare {} with something similar.
What are the advantages and disadvantages of {}?
Tell me about the history of {}.
How might {} change in the next fifty years?
Write a question that a student could ask about {}, and answer it.
Imagine a day without {}. What would happen?
Write a paragraph about a person who loves {}.
Make a plan for a weekend that has to do with {}.
Write a cheerful social media post about {}.
Write a scene in which {} causes a quarrel.
Continue this: Nobody in the village talked about {} until
"""

TEST_TASKS = """
Write a bedtime story about {}.
Write a travel note about {}.
Argue for and against {}.
Write a thank-you note that mentions {}.
"""

TOPICS = """
a lost dog; an old bicycle; the night train; a market in the rain; a broken clock; honey bees
the northern lights; a snowstorm; a school play; chess; a mountain hut; the price of bread; a family dinner
the sea at dawn; a football match; learning to swim; a new job; moving to another city; a garden in spring
volcanoes; electric cars; a power cut; the public library; a jazz concert; a birthday cake; wolves; a desert
the first day of school; a secret door; a wedding; an airport at night; solar energy; rivers; a violin
a village bakery; a hospital ward; coral reefs; a rescue at sea; antibiotics; a robot in the kitchen
a lucky coin; sleep; coffee; a job interview; the Roman roads; a thunderstorm; winter clothes; a campfire
photosynthesis; a chess computer; recycling; a museum of toys; a train strike; a traffic jam; paper maps
the telephone; a pair of shoes; an apple orchard; dinosaurs; a city park; a fishing boat
the invention of printing; a marathon; black holes; a haunted house; a strict teacher; a grandmother's recipe
cats; a wooden bridge; a summer camp; a stolen painting; online shopping; vaccination; the tides; a small shop
a space station; a forest fire; gravity; friendship; an umbrella; a street musician; potatoes; a computer virus
the color blue; a difficult exam; kindness; a hidden valley; a pirate ship; public transport; an empty theatre
a carpenter; a farm in autumn; earthquakes; a love letter; butterflies; a language school; tea; a long walk
money; a courtroom; rain forests; a sailor's dog; a hot air balloon; a mirror; a king without a crown
bread making; a lazy inventor; stars; a lost wallet
"""

TEST_TOPICS = """
a lighthouse: storm, boat, lamp, rocks, captain
the moon: tide, crater, night, rocket, orbit
a glass factory: furnace, sand, bottle, worker, heat
an orchestra rehearsal: violin, conductor, silence, drum, mistake
a mountain rescue: rope, helicopter, snow, climber, blanket
penguins: ice, egg, fish, feathers, colony
a flooded cellar: pump, rain, boxes, neighbor, water
night shifts: coffee, nurse, sleep, street, quiet
a paper kite: wind, string, child, tail, hill
the city council: vote, mayor, budget, bridge, citizen
a wooden horse: paint, soldier, toy, wheel, gift
beekeeping on a roof: honey, smoke, flower, city, ladder
a delayed flight: airport, luggage, weather, ticket, pilot
a rusty key: door, attic, secret, lock, box
wind turbines: electricity, blade, farmer, noise, bird
a food truck: sauce, customer, street, onion, price
a quiet librarian: book, shelf, whisper, card, window
the desert at night: stars, camel, cold, sand, fire
a school garden: tomato, teacher, seeds, rain, worm
an antique shop: clock, dust, chair, owner, price
a ferry crossing: wave, car, horn, island, passenger
a snow leopard: mountain, prey, camera, fur, village
the stock market: price, risk, bank, news, panic
a neighbourhood party: music, lamp, cake, fence, dance
a lost letter: stamp, postman, love, envelope, drawer
"""

TRAIN_PROMPTS, TEST_PROMPTS = 2000, 100


def chosen(tasks: list[str], topics: list[str], count: int, seed: int) -> list[str]:
    """`count` different prompts of all pairs of a task and a topic, sampled at random; all where there are fewer."""
    every = [task.format(topic) for topic, task in itertools.product(topics, tasks)]
    return random.Random(seed).sample(every, min(count, len(every)))


def tests(count: int, seed: int) -> list[dict[str, Any]]:
    """Prompts about the topics that were kept for tests, each with what its answer must keep."""
    keywords = dict(line.split(": ") for line in _lines(TEST_TOPICS))
    prompts = chosen(_lines(TASKS)[::3] + _lines(TEST_TASKS), list(keywords), count, seed)
    random_ = random.Random(seed + 1)
    result = []
    for prompt in prompts:
        (topic,) = (topic for topic in keywords if topic in prompt)
        words = random_.sample(keywords[topic].split(", "), random_.choice([2, 3]))
        least = random_.randrange(30, 81, 10)
        result.append({"prompt": prompt, "keywords": words, "words": [least, least * 3 // 2]})
    return result


def _lines(text: str) -> list[str]:
    return text.strip().split("\n")


def _topics(text: str) -> list[str]:
    return text.strip().replace("\n", "; ").split("; ")


def main() -> None:
    parser = PlainArgumentParser(__doc__)
    parser.add_argument("--output", default="runs/instruct", help="folder for train.txt and test.jsonl (%(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    folder = writable_folder(arguments.output)
    train = chosen(_lines(TASKS), _topics(TOPICS), TRAIN_PROMPTS, arguments.seed)
    files = {"train.txt": train, "test.jsonl": [json.dumps(test) for test in tests(TEST_PROMPTS, arguments.seed + 1)]}
    for name, lines in files.items():
        with atomic_file(folder / name) as part:
            Path(part).write_text("\n".join(lines) + "\n", encoding="utf-8")
        say(f"{folder / name}: {len(lines)} prompts")


if __name__ == "__main__":
    with as_program():
        main()
