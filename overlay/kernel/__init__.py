"""Everything that speaks netlink, nftables, BPF or namespaces to the kernel. Decides nothing about peers."""
