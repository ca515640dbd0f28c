"""The local HTTP listeners shared by router and proxy: access control, and limits for each client."""
