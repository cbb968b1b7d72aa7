# What Helm makes of a chart, asked by one request as JSON on standard input, and answered as JSON on standard output:
# {"done": …}, or {"refused": "…"} with Helm's words.
import json
import sys

import helm_python as helm


def lint(chart, values, **_):
    return helm.lint(chart, values, strict=True)


def render(chart, values, name, namespace, **_):
    with helm.Chart.load(chart) as loaded:
        loaded.validate_schema(values)
        return loaded.render(values, name=name, namespace=namespace)


def install(chart, values, name, config, **_):
    with helm.Config(**config) as cluster:
        return cluster.install(chart, name, values)


def upgrade(chart, values, name, config, **_):
    with helm.Config(**config) as cluster:
        return cluster.upgrade(chart, name, values)


def uninstall(name, config, **_):
    with helm.Config(**config) as cluster:
        return cluster.uninstall(name)


request = json.load(sys.stdin)
try:
    do = {f.__name__: f for f in (lint, render, install, upgrade, uninstall)}
    answer = {"done": do[request.pop("do")](**request)}
except helm.HelmError as problem:
    answer = {"refused": str(problem)}
json.dump(answer, sys.stdout)
