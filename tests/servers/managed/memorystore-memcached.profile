service Google Memorystore for Memcached 1.6
source Memorystore for Memcached, "Supported versions" and "Supported Memcached configurations", 2025
# The node list is that of the discovery endpoint: c.memcached.discovery.
server memcached
refuse watch
