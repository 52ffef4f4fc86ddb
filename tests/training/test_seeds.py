import torch

from autogaze.training.seeds import derived_seed, generator, seed_torch


def test_a_place_has_one_seed_and_places_have_different_ones():
    places = [(0,), (1,), (0, 0), (0, 1), (0, "order", 1), (0, "mask", 1), (0, "mask", 1, 0)]
    seeds = [derived_seed(*place) for place in places]
    assert seeds == [derived_seed(*place) for place in places]
    assert len(set(seeds)) == len(places)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_seeds_are_the_same_on_every_machine():
    assert derived_seed(666, "order", 3) == 3922555403191049052


def test_torch_draws_by_place_whatever_was_drawn_before():
    seed_torch(5, "rollout", 2)
    first = torch.rand(3)
    torch.rand(100)
    seed_torch(5, "rollout", 2)
    assert torch.equal(torch.rand(3), first)
    assert torch.equal(torch.rand(3, generator=generator(5, "a")), torch.rand(3, generator=generator(5, "a")))
