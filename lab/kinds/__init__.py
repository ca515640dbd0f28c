"""The description of each sort of kind, and its registry.

    verbs       what a step of a timeline does    lab/verbs/           overlay_lab.verbs
    overlays    what containers are joined by     lab/overlays/        overlay_lab.overlays
    backends    what hosts are made of            lab/backends/kinds/  overlay_lab.backends
    probes      what is measured between them     lab/probes/kinds/    overlay_lab.probes
    checkers    what an `expect` may ask          lab/expectations/    overlay_lab.checkers

Each module has the class of its kinds and their registry: the folder of the lab's own kinds, and the entry point group
for other packages. This package is below all kinds and all their users: it must not import any of them.
"""
