"""Places of names next to points, so that no name hides a point or another name, and as few lines as can be run through
one. Knows nothing of what is named."""

from collections.abc import Iterable, Mapping

from matplotlib.axes import Axes
from matplotlib.path import Path
from matplotlib.patheffects import withStroke
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

from lab.plots.style import INK, points

__all__ = ["place_labels"]

_NEAR = 7.0
"""Points between a mark's middle and its name."""
_SIDES = (
    (0, -1, "center", "top"), (0, 1, "center", "bottom"), (1, 0, "left", "center"), (-1, 0, "right", "center"),
    (0.8, -0.8, "left", "top"), (-0.8, -0.8, "right", "top"), (0.8, 0.8, "left", "bottom"),
    (-0.8, 0.8, "right", "bottom"),
)  # fmt: skip
_DISTANCES = (1.0, 2.0, 3.2)


Point = tuple[float, float]


def place_labels(
    axes: Axes, marks: Mapping[str, Point], names: Mapping[str, str], lines: Iterable[tuple[str, str]] = ()
) -> int:
    """Write the names (mark -> text) next to their marks; the first get the best places. `lines` join marks. Returns
    how many found no place, and are left out. Limits and size of the axes must be final."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()
    pixels = figure.dpi / 72
    half = points(_NEAR - 2) * pixels
    dots = {mark: axes.transData.transform(place) for mark, place in marks.items()}
    taken = [Bbox([(x - half, y - half), (x + half, y + half)]) for x, y in dots.values()]
    paths = [Path([dots[one], dots[other]]) for one, other in lines]
    frame = figure.bbox
    left = 0
    for mark, text in names.items():
        label = axes.annotate(
            text, marks[mark], textcoords="offset points", xytext=(0, 0), fontsize="small" if len(marks) <= 24 else
            "x-small", color=INK, zorder=4, path_effects=[withStroke(linewidth=points(2.5), foreground="white")],
        )  # fmt: skip
        label.set_in_layout(False)
        free: list[tuple[int, int, Bbox]] = []
        sides = [(r * d, u * d, ha, va) for d in _DISTANCES for r, u, ha, va in _SIDES]
        for number, side in enumerate(sides):
            if free and number % len(_SIDES) == 0:
                break  # nearer ones have room
            _set(label, side)
            extent = label.get_window_extent()
            inside = frame.x0 <= extent.x0 and extent.x1 <= frame.x1 and frame.y0 <= extent.y0 and extent.y1 <= frame.y1
            if inside and not extent.count_overlaps(taken):
                crossed = sum(path.intersects_bbox(extent, filled=False) for path in paths)
                free.append((crossed, number, extent))
        if free:
            _, number, extent = min(free, key=lambda found: found[:2])
            _set(label, sides[number])
            taken.append(extent)
        else:
            label.remove()
            left += 1
    return left


def _set(label: Annotation, side: tuple[float, float, str, str]) -> None:
    right, up, ha, va = side
    label.set(ha=ha, va=va)
    label.xyann = points(_NEAR) * right, points(_NEAR) * up
