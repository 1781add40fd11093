"""What scripts/growth.sh does, with the programs of BUILD: growth.py BUILD [options]."""

import argparse
import csv
import dataclasses
import pathlib
import shutil
import subprocess
import sys
import tempfile
from statistics import median

from systems import Kvd, Work

BASE = Work("put", connections=64)
# What grows, one at a time, from BASE on three servers: the axis' name, the field of Work, its values.
AXES = {
    "keys": ("keys", (10_000, 30_000, 100_000, 300_000, 1_000_000)),
    "connections": ("connections", (1, 4, 16, 64, 256, 1_000, 4_000)),
    "bytes of a value": ("value_bytes", (16, 64, 256, 1_024, 4_096, 16_384, 65_536)),
    "servers": (None, (1, 3, 5)),
}

PLOT = """
set terminal svg size 960,680 font 'sans,12' background '#ffffff'
set output '{svg}'
set datafile separator ','
set key top right
set grid ytics lc rgb '#dddddd'
set yrange [0:*]
set format y '%.0s%c'
set ylabel 'a second'
set style line 1 lc rgb '#1f5fa8' lw 2 pt 7 ps 0.6
set style line 2 lc rgb '#c2571a' lw 2 pt 7 ps 0.6
row(axis, work) = sprintf("< awk -F, '$1 == \\"%s\\" && $3 == \\"%s\\"' {csv}", axis, work)
set multiplot layout 2,2
{panels}
unset multiplot
"""

PANEL = """
{scale}
set xlabel '{axis}'
plot for [i=1:2] row('{axis}', word('put get', i)) using 2:4 with lines ls i notitle, \\
     for [i=1:2] row('{axis}', word('put get', i)) using 2:4:5:6 with yerrorbars ls i title word('PUT GET', i)
"""


def works(axis):
    field, values = AXES[axis]
    for value in values:
        for what in ("put", "get"):
            work = dataclasses.replace(BASE, what=what)
            yield value, (dataclasses.replace(work, **{field: value}) if field else work)


def measure(options, folder):
    build = pathlib.Path(options.build).resolve()
    systems = {size: Kvd(build, folder, size) for size in AXES["servers"][1]}
    rates = {}
    try:
        for system in systems.values():
            system.start()
        for number in range(options.rounds):
            for axis in AXES:
                for value, work in works(axis):
                    system = systems[value if axis == "servers" else 3]
                    rate = system.run(work, options.seconds).rate
                    rates.setdefault((axis, value, work.what), []).append(rate)
                    print(f"round {number + 1}: {axis} {value:,}, {work.what.upper()}: {rate:,.0f}/s", file=sys.stderr)
                    write(options.table, rates)  # so that a run that is cut off leaves what it has
    finally:
        for system in systems.values():
            system.end()


def write(table, rates):
    with open(table, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["what grows", "value", "request", "median a second", "lowest", "highest"])
        for (axis, value, what), seen in rates.items():
            writer.writerow([axis, value, what, *(f"{rate:.0f}" for rate in (median(seen), min(seen), max(seen)))])


def plot(table, svg):
    scales = {axis: "unset logscale x\nset xtics 1,2,5\nset xrange [0.5:5.5]" if axis == "servers" else
              "set logscale x\nset xtics auto\nset format x '%.0s%c'\nset xrange [*:*]" for axis in AXES}
    panels = "".join(PANEL.format(axis=axis, scale=scales[axis]) for axis in AXES)
    subprocess.run(["gnuplot"], input=PLOT.format(svg=svg, csv=table, panels=panels), text=True, check=True)


def main():
    parser = argparse.ArgumentParser(prog="growth")
    parser.add_argument("build")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--only-plot", action="store_true")
    parser.add_argument("--table", default="docs/growth.csv")
    parser.add_argument("--svg", default="docs/growth.svg")
    options = parser.parse_args()
    if not shutil.which("gnuplot"):
        sys.exit("growth: gnuplot draws the picture, and it is not installed: apt-get install gnuplot-nox")
    if not options.only_plot:
        folder = pathlib.Path(tempfile.mkdtemp(prefix="kvd-growth-"))
        try:
            measure(options, folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    plot(options.table, options.svg)


if __name__ == "__main__":
    main()
