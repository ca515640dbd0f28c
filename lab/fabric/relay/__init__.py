"""The relay: impairs links of real hosts when the kernel has no suitable queue.

A process in the fabric's network namespace (`worker`) receives the frames of impaired directions, delays each according
to the model of `lab.links` (`direction`), and sends it out of its original port (`frames`). The lab controls it
(`process`, `orders`). Frames of all other pairs stay in the kernel.
"""
