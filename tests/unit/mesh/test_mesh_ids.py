import re

from mesh.ids import new_id


def test_an_id_is_its_prefix_and_26_characters_of_base_32() -> None:
    assert re.fullmatch(r"pay_[0-9a-hjkmnp-tv-z]{26}", new_id("pay"))


def test_ids_do_not_repeat() -> None:
    assert len({new_id("pay") for _ in range(10_000)}) == 10_000


def test_ids_made_in_later_milliseconds_sort_later() -> None:
    earlier = new_id("pay")
    later = next(made for made in iter(lambda: new_id("pay"), "") if made[:13] != earlier[:13])
    assert later > earlier


def test_what_is_random_in_an_id_varies_in_every_place() -> None:
    made = [new_id("pay") for _ in range(500)]
    # The last 16 characters are 80 of the 82 random bits.
    assert all(len({one[place] for one in made}) > 16 for place in range(-16, 0))
