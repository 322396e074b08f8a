"""Pictures of flows, landscapes and phases, in colours that colour-blind readers distinguish and
shades that differ in grey.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import BoundaryNorm, ListedColormap, Normalize
from matplotlib.patches import Circle, Patch
from matplotlib.ticker import MaxNLocator

from .._lazy import scipy
from . import drawing
from .bands import COLOURS, MARKERS, STYLES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# light to dark in order of the regions, from blue-free yellow to dark blue (a cividis of six)
SHADES = ("#FFF3C4", "#E3C659", "#B9A66A", "#858178", "#4F5B72", "#10264F")
RIM = "#202020"
KINDS = {
    "minimum": ("o", "#000000"),
    "saddle": ("X", "#D55E00"),
    "maximum": ("^", "#FFFFFF"),
    "degenerate": ("D", "#E69F00"),
}
FLAT = "#E69F00"


def _size(x: Any) -> Any:
    return np.abs(x) if x.ndim == 1 else np.sqrt(np.mean(x**2, axis=1))


def plot_flow(flow: Any, ax: Axes | None, time: bool) -> Axes:
    """See Flow.plot.

    On the axes of a simulation's plot the lines are black and dashed, so that they show on its
    bands.
    """
    given = ax is not None
    ax = drawing.axes(ax)
    over = given and bool(ax.lines)
    x = flow.t if time or flow.steps is None else flow.steps
    for i, (name, values) in enumerate((("m", flow.m), ("e", flow.e))):
        if values is None:
            continue
        letter = rf"$|{name}|$" if values.ndim == 1 else rf"$\Vert {name}\Vert/\sqrt{{L}}$"
        style: dict[str, Any] = (
            {"color": "black", "linestyle": ("--", ":")[i]}
            if over
            else {"color": COLOURS[i], "linestyle": STYLES[i]}
        )
        ax.plot(x, _size(values), linewidth=1.6, label=f"flow, {letter}", zorder=4, **style)
    if not over:
        ax.set_xlabel(
            r"time $t = \int \gamma\, d\tau / d$" if time or flow.steps is None else r"step $\tau$"
        )
        ax.set_ylabel(r"overlap $|m|$" + (r", $|e|$" if flow.e is not None else ""))
        ax.grid(alpha=0.25)
    ax.legend(fontsize="small")
    return ax


def plot_landscape(landscape: Any, ax: Axes | None, surface: bool, legend: bool) -> Axes:
    """See Landscape.plot."""
    if len(landscape.names) == 1:
        return _curve(landscape, drawing.axes(ax), legend)
    if surface:
        return _surface(landscape, ax, legend)
    return _contours(landscape, drawing.axes(ax, figsize=(6.4, 5.4)), legend)


def _curve(landscape: Any, ax: Axes, legend: bool) -> Axes:
    m = np.linspace(-1, 1, 401)
    ax.plot(m, landscape.risk(m=m), color=COLOURS[0])
    for c in landscape.critical:
        _mark(ax, c.kind, c.point[0], c.value)
    for f in landscape.flat:
        _set(ax, f, f.points[:, 0], np.full(len(f.points), f.value))
    ax.set_xlabel("overlap $m$")
    ax.set_ylabel("risk $R(m)$")
    ax.grid(alpha=0.25)
    if legend:
        _legend(ax)
    return ax


def _contours(landscape: Any, ax: Axes, legend: bool) -> Axes:
    x = np.linspace(-1, 1, 201)
    e, m = np.meshgrid(x, x)
    outside = e**2 + m**2 > 1
    R = landscape.risk(e, m)
    colours = disc_contours(ax, x, R, 25, "cividis", lines=1, linewidths=0.25, alpha=0.5)
    assert ax.figure is not None
    ax.figure.colorbar(colours, ax=ax, label="risk $R(e, m)$", shrink=0.85, ticks=MaxNLocator(5))
    g = landscape.gradient(e, m)
    radial = e * g[..., 0] + m * g[..., 1]
    speed = [np.ma.masked_where(outside, -g[..., i] + (e, m)[i] * radial) for i in (0, 1)]
    _streams(ax, x, *speed)
    for c in landscape.critical:
        _mark(ax, c.kind, *c.point)
    for f in landscape.flat:
        _set(ax, f, *f.points.T)
    v = 0.28 * landscape.direction
    for s in (1, -1) if v.any() else ():
        ax.annotate(
            "",
            xy=(s * v[0], s * v[1]),
            xytext=(0, 0),
            arrowprops={"arrowstyle": "-|>", "color": "black", "lw": 2},
            zorder=6,
        )
    ax.set_aspect("equal")
    ax.set_xlim(-1.08, 1.08)
    ax.set_ylim(-1.08, 1.08)
    ax.set_xlabel("positional overlap $e$")
    ax.set_ylabel("overlap $m$")
    if legend:
        _legend(ax, outside=True)
    return ax


def disc_contours(
    ax: Axes, x: Any, R: Any, levels: int, cmap: str, lines: int = 0, **style: Any
) -> ScalarMappable:
    """Draw filled contours of a function on the unit disc, cut off at the circle: no steps there.

    Parameters
    ----------
    ax : matplotlib Axes
    x : (n,)
        Points along both sides of the square [-1, 1]^2.
    R : (n, n)
        Values on all of the square, last axis along x. Levels span those on the disc.
    levels : int
    cmap : str
    lines : int
        A black line at every `lines`-th level, dashed below 0. 0: none.
    **style
        Of these lines.

    Returns
    -------
    ScalarMappable
        For a colour bar.
    """
    inside = R[np.add.outer(x**2, x**2) <= 1]
    values = np.linspace(np.nanmin(inside), np.nanmax(inside), levels)
    drawn: list[Any] = [ax.contourf(x, x, R, levels=values, cmap=cmap, extend="both", zorder=1)]
    if lines:
        black: dict[str, Any] = {"colors": "black", "zorder": 2} | style
        drawn.append(ax.contour(x, x, R, levels=values[::lines], **black))
    circle = Circle((0, 0), 1, fill=False, linewidth=1.2, zorder=4)
    ax.add_patch(circle)
    for artist in drawn:
        artist.set_clip_path(circle)
    return ScalarMappable(Normalize(values[0], values[-1]), cmap)


def _streams(ax: Axes, x: Any, e: Any, m: Any) -> None:
    """Draw flow lines, white with a dark outline, which are visible on all colours and in grey."""
    before = len(ax.patches)
    lines = ax.streamplot(
        x, x, e, m, color="white", density=0.9, linewidth=0.9, arrowsize=1.2, zorder=3.1
    ).lines
    ax.add_collection(
        LineCollection(
            lines.get_segments(), colors=RIM, linewidths=2.1, capstyle="round", zorder=3
        ),
        autolim=False,
    )
    for arrow in ax.patches[before:]:
        arrow.set(edgecolor=RIM, linewidth=0.6, zorder=3.2)


def _surface(landscape: Any, ax: Axes | None, legend: bool) -> Axes:
    axes: Any = drawing.axes(ax, subplot_kw={"projection": "3d"}, figsize=(7.0, 5.6))
    r, angle = np.meshgrid(np.linspace(0, 1, 60), np.linspace(0, 2 * np.pi, 121))
    e, m = r * np.cos(angle), r * np.sin(angle)
    R = landscape.risk(e, m)
    axes.computed_zorder = False  # the marks above all of the surface
    axes.plot_surface(
        e,
        m,
        R,
        zorder=1,
        cmap="cividis",
        rstride=2,
        cstride=2,
        linewidth=0.15,
        edgecolor="black",
        alpha=0.9,
    )
    lift = 0.02 * (R.max() - R.min())
    for kind, (marker, colour) in KINDS.items():
        points = np.array(
            [[*c.point, c.value + lift] for c in landscape.critical if c.kind == kind]
        )
        if len(points):
            axes.scatter(
                *points.T,
                marker=marker,
                color=colour,
                edgecolor="black",
                s=46,
                depthshade=False,
                label=kind,
                zorder=5,
            )
    for f in landscape.flat:
        if f.dimension == 1:
            axes.plot(
                *f.points.T,
                np.full(len(f.points), f.value + lift),
                color=FLAT,
                linewidth=3,
                label=_name(f),
                zorder=5,
            )
    axes.set_xlabel("positional overlap $e$", labelpad=6)
    axes.set_ylabel("overlap $m$", labelpad=6)
    axes.set_zlabel("risk $R(e, m)$", labelpad=8)
    axes.set_xticks([-1, -0.5, 0, 0.5, 1])
    axes.set_yticks([-1, -0.5, 0, 0.5, 1])
    axes.set_box_aspect(None, zoom=0.85)
    if legend:
        axes.legend(fontsize="small", loc="upper left")
    return axes  # type: ignore[no-any-return]


def _mark(ax: Axes, kind: str, x: float, y: float) -> None:
    marker, colour = KINDS[kind]
    ax.plot(
        x,
        y,
        marker=marker,
        color=colour,
        markeredgecolor="white" if colour == "#000000" else "black",
        markersize=8.5,
        linestyle="none",
        label=kind,
        zorder=7,
        clip_on=False,
    )


def _set(ax: Axes, f: Any, x: Any, y: Any) -> None:
    """Draw a curve of critical points, or the points of a region."""
    style: dict[str, Any] = (
        {"linewidth": 3}
        if f.dimension == 1
        else {"linestyle": "none", "marker": ".", "markersize": 3}
    )
    ax.plot(x, y, color=FLAT, label=_name(f), zorder=6, **style)


def _name(f: Any) -> str:
    return "flat" if f.kind == "flat" else f"{f.kind}, flat along it"


def _legend(ax: Axes, outside: bool = False) -> None:
    """Draw a legend with every label once; `outside` puts it below the axes."""
    handles, labels = ax.get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    if unique:
        place: dict[str, Any] = {"loc": "best", "framealpha": 0.9}
        if outside:
            place = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.13), "frameon": False}
            place["ncols"] = min(len(unique), 3)
        ax.legend(list(unique.values()), list(unique), fontsize="small", **place)


def plot_phases(diagram: Any, regions: tuple[str, ...], ax: Axes | None, legend: bool) -> Axes:
    """See PhaseDiagram.plot."""
    ax = drawing.axes(ax, figsize=(8.6, 4.8))

    a, omega, region = diagram.a, diagram.omega, diagram.region
    colours = ListedColormap(["#FFFFFF", *SHADES])
    # cells around their points
    ax.pcolormesh(
        _edges(a),
        _edges(omega),
        region.T,
        cmap=colours,
        norm=BoundaryNorm(np.arange(-1.5, 6), 7),
        rasterized=True,
    )
    lines = {
        "direction": "first direction",
        "gap": "equal risks",
        "positional": "positional pole stable",
        "semantic": "semantic pole stable",
    }
    for i, (name, label) in enumerate(lines.items()):
        curve = diagram.boundaries[name]
        inside = (curve[:, 0] >= a[0]) & (curve[:, 1] >= omega[0]) & (curve[:, 1] <= omega[-1])
        if inside.any():
            ax.plot(
                *curve[inside].T,
                color="black",
                linestyle=STYLES[i],
                linewidth=1.1,
                marker=MARKERS[i],
                markevery=(0.12, 0.17),
                markersize=4,
                markerfacecolor="white",
                label=label,
            )
    handles: list[Any] = []
    for i, name in enumerate(regions):
        if (region == i).any():
            _number(ax, diagram, i)
        handles.append(
            Patch(facecolor=SHADES[i], edgecolor="black", linewidth=0.5, label=f"{i + 1}  {name}")
        )
    if (region == -1).any():
        handles.append(
            Patch(
                facecolor="white",
                edgecolor="black",
                linewidth=0.5,
                label="neither pole a strict minimum",
            )
        )
    here = (diagram.between | (region == -1)) & (omega < 1)
    if here.any() and min(here.shape) > 1:
        ax.contourf(
            a, omega, here.T.astype(float), levels=[0.5, 1.5], colors="none", hatches=["////"]
        )
        handles.append(
            Patch(
                facecolor="white",
                edgecolor="black",
                hatch="////",
                linewidth=0.5,
                label="a minimum between the poles",
            )
        )
    ax.set_xlabel("positional width $a$")
    ax.set_ylabel(r"positional weight $\omega$")
    ax.set_xlim(_edges(a)[[0, -1]])
    ax.set_ylim(_edges(omega)[[0, -1]])
    handles += [line for line in ax.lines if not str(line.get_label()).startswith("_")]
    if legend:
        side: dict[str, Any] = {"loc": "center left", "bbox_to_anchor": (1.02, 0.5)}
        ax.legend(handles=handles, fontsize="small", frameon=False, **side)
    return ax


def _number(ax: Axes, diagram: Any, i: int) -> None:
    """Write the number of a region at its thickest place, or next to it with a leader line if it is
    narrow.
    """

    inside = np.pad(diagram.region == i, 1)
    depth = scipy.ndimage.distance_transform_edt(inside)[1:-1, 1:-1]
    at = np.unravel_index(np.argmax(depth), depth.shape)
    place = (diagram.a[at[0]], diagram.omega[at[1]])
    bold: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 11, "fontweight": "bold"}
    if depth[at] >= 0.05 * min(depth.shape):
        ax.text(*place, str(i + 1), color="black" if i < 3 else "white", **bold)
    else:
        box, line = (
            {"boxstyle": "round,pad=0.2", "facecolor": "white", "linewidth": 0.5},
            {"arrowstyle": "-", "color": "white", "linewidth": 1.2, "shrinkB": 0},
        )
        ax.annotate(
            str(i + 1),
            place,
            xytext=(-26, -40),
            textcoords="offset points",
            bbox=box,
            arrowprops=line,
            zorder=6,
            **bold,
        )


def _edges(x: Any) -> Any:
    if len(x) == 1:
        return np.array([x[0] - 0.5, x[0] + 0.5])
    middle = (x[1:] + x[:-1]) / 2
    return np.concatenate([[x[0] - (middle[0] - x[0])], middle, [x[-1] + (x[-1] - middle[-1])]])
