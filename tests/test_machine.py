from stage import machine


def test_the_machine_is_named():
    import torch

    assert machine.processor().strip()
    assert machine.describe().startswith(machine.processor()) and f"torch {torch.__version__}" in machine.describe()
