import json
import math

import numpy as np

from stage.evaluation.tables import finite, markdown


def test_a_table_has_a_head_a_line_and_rows():
    assert markdown([["a", ""], ["1", "2"]]) == "| a |  |\n| --- | --- |\n| 1 | 2 |"


def test_what_json_lacks_is_null():
    value = {"a": [math.nan, (1.5, math.inf)], "b": {"c": np.float64("nan"), "d": "nan", "e": 3}}
    assert json.loads(json.dumps(finite(value), allow_nan=False)) == {
        "a": [None, [1.5, None]],
        "b": {"c": None, "d": "nan", "e": 3},
    }
