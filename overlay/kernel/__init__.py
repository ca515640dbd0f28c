"""All access to the kernel by netlink, nftables, BPF or namespaces. Decides nothing about peers."""
