"""The relay: impaired links of real hosts where the kernel has no queue for them.

A process in the fabric's network namespace (`worker`) gets the frames of impaired directions, holds each as long as the
model of `lab.links` says (`direction`), and sends it out of the port that it was for (`frames`). The lab orders it
about (`process`, `orders`). Every other pair's frames stay in the kernel.
"""
