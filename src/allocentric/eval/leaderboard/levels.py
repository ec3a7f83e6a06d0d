"""Which spatial ability a question type asks for: the five levels of SpatialBench (arXiv 2511.21471).

observation: how many, how large, how far. topology: how things lie to each other. symbolic: another viewpoint, several
steps, what things are for. causality: what moves, and what follows from it. planning: what to do, and where to go.
SpatialBench names the level of its own types; for all other benchmarks the assignment is ours. Types that ask for none
of them (art style, shape puzzles) have no level and are left out of level scores only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

LEVELS = ("observation", "topology", "symbolic", "causality", "planning")

_VSI = {
    "object_counting": "observation", "object_abs_distance": "observation", "object_size_estimation": "observation",
    "room_size_estimation": "observation", "object_rel_distance": "topology", "object_rel_direction": "symbolic",
    "obj_appearance_order": "topology", "route_planning": "planning",
}  # fmt: skip

LEVEL_OF_CELL: Mapping[str, Mapping[str, str]] = {
    "blink": {
        "Counting": "observation", "Relative_Depth": "observation", "Object_Localization": "observation",
        "Spatial_Relation": "topology", "Visual_Correspondence": "topology", "Multi-view_Reasoning": "symbolic",
        "Functional_Correspondence": "symbolic",
    },
    "cv_bench": {"2D": "topology", "3D": "observation"},
    "embspatial": {"mp3d": "topology", "ai2thor": "topology", "scannet": "topology"},
    "hstar_bench": {"HOS": "planning", "HPS": "planning"},
    "lv_haystack": {"question": "observation"},
    "mindcube_tiny": {"among": "symbolic", "around": "symbolic", "rotation": "symbolic", "translation": "symbolic"},
    "mmsi_bench": {
        **{f"Positional Relationship ({pair})": "topology" for pair in ("Obj.–Obj.", "Reg.–Reg.", "Obj.–Reg.")},
        **{f"Positional Relationship ({pair})": "symbolic" for pair in ("Cam.–Cam.", "Cam.–Obj.", "Cam.–Reg.")},
        "Attribute (Meas.)": "observation", "Attribute (Appr.)": "observation", "Motion (Cam.)": "causality",
        "Motion (Obj.)": "causality", "MSR": "symbolic",
    },
    "mulset": {
        "Distance_Assessment": "topology", "Block_Restoration": "symbolic",
        "Direction_Relationship_Transmission": "symbolic",
    },
    "ost_bench": {
        "A_state(Judge)": "causality", "A_state(Esti)": "causality", "A_info(Judge)": "observation",
        "A_info(Temp)": "observation", "A_info(Count)": "observation", "AO(Judge)": "topology", "AO(Esti)": "topology",
        "AO(Temp)": "topology",
    },
    "q_spatial": {"QSpatial_plus": "observation", "QSpatial_scannet": "observation"},
    "remindview": {
        "object_centric_object_object": "topology", "object_centric_view_object": "symbolic",
        "object_centric_view_view": "symbolic", "view_centric_view_object": "symbolic",
        "view_centric_object_object": "symbolic",
    },
    "revsi": {cell: level for cell, level in _VSI.items() if cell != "obj_appearance_order"},
    "sat_real": {
        "ego_movement": "causality", "obj_movement": "causality", "action_consequence": "causality",
        "goal_aim": "planning", "perspective": "symbolic",
    },
    "site_bench": {
        "counting & existence": "observation", "object localization & positioning": "observation",
        "3d information understanding": "observation", "multi-view & cross-image reasoning": "symbolic",
        "spatial relationship reasoning": "topology", "movement prediction & navigation": "planning",
    },
    "spar_bench": {"low": "observation", "middle": "causality", "high": "symbolic"},
    "spatialbench": {level: level for level in LEVELS},
    "spbench": _VSI,
    "stare": {"perspective": "symbolic", "temporal": "causality"},
    "tempcompass": {},
    "threedsrbench": {
        "height": "topology", "location": "topology", "orientation": "symbolic", "multi_object": "symbolic",
    },
    "topviewrs": {
        "recognition": "observation", "localization": "observation", "static_reasoning": "topology",
        "dynamic_reasoning": "planning",
    },
    "viewspatial": {
        "Camera perspective - Relative Direction": "topology",
        "Camera perspective - Object View Orientation": "topology",
        "Person perspective - Relative Direction": "symbolic",
        "Person perspective - Object View Orientation": "symbolic",
        "Person perspective - Scene Simulation Relative Direction": "symbolic",
    },
    "vlm4d": {"real": "causality", "synthetic": "causality"},
    "vsi_bench": _VSI,
    "vsi_super_count": {
        f"{minutes}mins{form}": "observation" for minutes in (10, 30, 60, 120) for form in ("", "_streaming")
    },
    "vsi_super_recall": {f"{minutes}mins": "topology" for minutes in (10, 30, 60, 120, 240)},
    "vsr": {"caption": "topology"},
    "vsti_bench": {
        "camera_obj_abs_dist": "observation", "camera_displacement": "causality",
        "camera_movement_direction": "causality", "camera_obj_dist_change": "causality",
        "obj_obj_relative_pos": "topology", "camera_obj_rel_dist": "topology",
    },
}  # fmt: skip
"""Benchmark -> cell of its table -> level."""


def levels_of(benchmark: str, cells: Sequence[str]) -> dict[str, list[str]]:
    """By level, in order, the `cells` that ask for it; levels without any are left out.

    Names are compared without case, and dashes as one: MMSI-Bench's copies differ in them.
    """
    known = {_plain(cell): level for cell, level in LEVEL_OF_CELL.get(benchmark, {}).items()}
    found = {level: [cell for cell in cells if known.get(_plain(cell)) == level] for level in LEVELS}
    return {level: members for level, members in found.items() if members}


def _plain(name: str) -> str:
    return name.replace("–", "-").casefold()
