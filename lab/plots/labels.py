"""Places of names next to points, so that no name hides a point or another name. Knows nothing of what is named."""

from collections.abc import Mapping

from matplotlib.axes import Axes
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


def place_labels(axes: Axes, marks: Mapping[str, tuple[float, float]], names: Mapping[str, str]) -> int:
    """Write the names (mark -> text) next to their marks; the first get the best places. Returns how many found none,
    and are left out. Limits and size of the axes must be final."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()
    pixels = figure.dpi / 72
    half = points(_NEAR - 2) * pixels
    dots = {mark: axes.transData.transform(place) for mark, place in marks.items()}
    taken = [Bbox([(x - half, y - half), (x + half, y + half)]) for x, y in dots.values()]
    frame = axes.get_window_extent()
    left = 0
    for mark, text in names.items():
        label = axes.annotate(
            text, marks[mark], textcoords="offset points", xytext=(0, 0), fontsize="small" if len(marks) <= 24 else
            "x-small", color=INK, zorder=4,
        )  # fmt: skip
        label.set_in_layout(False)
        for right, up, ha, va in ((r * d, u * d, ha, va) for d in _DISTANCES for r, u, ha, va in _SIDES):
            label.set(ha=ha, va=va)
            label.xyann = points(_NEAR) * right, points(_NEAR) * up
            extent = label.get_window_extent()
            if not extent.count_overlaps(taken) and frame.padded(4).containsx(extent.x0) and frame.containsx(extent.x1):
                taken.append(extent)
                break
        else:
            label.remove()
            left += 1
    return left
