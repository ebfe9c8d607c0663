service Google Memorystore for Memcached 1.6
source Memorystore for Memcached, "Supported versions", "Supported Memcached configurations" and "About the Auto Discovery service", 2025
server memcached
options discovery=config
tells-servers
refuse watch
note Tested with `discovery: config`.
