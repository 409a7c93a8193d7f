"""Prompts to distil an instruction-tuned model on, and others to test on: every task of a list about topics of another.

    python scripts/instruct_prompts.py --output runs/instruct            # train.txt (2,000) and test.txt (100)

Topics of the two files are disjoint, and four of the tests' tasks occur in no training prompt. The lists were written
for this; nothing is taken from a benchmark.
"""

from __future__ import annotations

import argparse
import itertools
import random
from pathlib import Path

from ctrlg.errors import CtrlGError
from ctrlg.files import atomic_file

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
a lighthouse; the moon; a glass factory; an orchestra rehearsal; a mountain rescue; penguins; a flooded cellar
night shifts; a paper kite; the city council; a wooden horse; beekeeping on a roof; a delayed flight
a rusty key; wind turbines; a food truck; a quiet librarian; the desert at night; a school garden
an antique shop; a ferry crossing; a snow leopard; the stock market; a neighbourhood party; a lost letter
"""

TRAIN_PROMPTS, TEST_PROMPTS = 2000, 100


def chosen(tasks: list[str], topics: list[str], count: int, seed: int) -> list[str]:
    """`count` different prompts of all pairs of a task and a topic, drawn at random; all where there are fewer."""
    every = [task.format(topic) for topic, task in itertools.product(topics, tasks)]
    return random.Random(seed).sample(every, min(count, len(every)))


def _lines(text: str) -> list[str]:
    return text.strip().split("\n")


def _topics(text: str) -> list[str]:
    return text.strip().replace("\n", "; ").split("; ")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("runs/instruct"), help="folder for train.txt and test.txt")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    files = {
        "train.txt": chosen(_lines(TASKS), _topics(TOPICS), TRAIN_PROMPTS, arguments.seed),
        "test.txt": chosen(
            _lines(TASKS)[::3] + _lines(TEST_TASKS), _topics(TEST_TOPICS), TEST_PROMPTS, arguments.seed + 1
        ),
    }
    for name, prompts in files.items():
        with atomic_file(arguments.output / name) as part:
            Path(part).write_text("\n".join(prompts) + "\n", encoding="utf-8")
        print(f"{arguments.output / name}: {len(prompts)} prompts")


if __name__ == "__main__":
    try:
        main()
    except CtrlGError as error:
        raise SystemExit(str(error)) from None
