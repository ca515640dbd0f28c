"""What a kind of each sort says of itself, and the registry of that sort.

    verbs       what a step of a timeline does    lab/verbs/           overlay_lab.verbs
    overlays    what containers are joined by     lab/overlays/        overlay_lab.overlays
    backends    what hosts are made of            lab/backends/kinds/  overlay_lab.backends
    probes      what is measured between them     lab/probes/kinds/    overlay_lab.probes
    checkers    what an `expect` may ask          lab/expectations/    overlay_lab.checkers

Each page has the class that a kind is an object of and its registry: the folder of the lab's own kinds, and the group
of entry points of other packages. Below all that use kinds, and all kinds: nothing here may import one.
"""
