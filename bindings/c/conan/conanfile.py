# The Conan 2 recipe of YokedCache: packages the libraries of a release. bindings/c/ports fills in the version and conandata.yml.
import os

from conan import ConanFile
from conan.errors import ConanException, ConanInvalidConfiguration
from conan.tools.files import copy, get

required_conan_version = ">=2.0"


class YokedCache(ConanFile):
    name = "yokedcache"
    version = "@VERSION@"
    description = "One cache with one meaning over memory, Redis and Memcached"
    license = "MIT OR Apache-2.0"
    topics = ("cache", "redis", "memcached")
    package_type = "library"
    settings = "os", "arch", "compiler", "build_type"
    # Conan's settings do not name the C library.
    options = {"shared": [True, False], "libc": ["gnu", "musl"]}
    default_options = {"shared": True, "libc": "gnu"}

    @property
    def _system(self):
        arch = {"armv8": "aarch64"}.get(str(self.settings.arch), str(self.settings.arch))
        return f"{arch}-linux-{self.options.libc}"

    def validate(self):
        systems = self.conan_data["sources"][self.version]
        if self.settings.os != "Linux" or self._system not in systems:
            raise ConanInvalidConfiguration(
                f"yokedcache {self.version} has no package for {self.settings.os} {self._system}, but for {', '.join(systems)}; "
                "other systems build from source with bindings/c/install"
            )

    # The interface is C, so one binary serves each compiler and each type of build.
    def package_id(self):
        del self.info.settings.compiler
        del self.info.settings.build_type

    def build(self):
        get(self, **self.conan_data["sources"][self.version][self._system], strip_root=True)

    def package(self):
        def take(pattern, source, target):
            if not copy(self, pattern, os.path.join(self.build_folder, source), os.path.join(self.package_folder, target)):
                raise ConanException(f"the archive has no {source}/{pattern}")

        take("*.h*", "include", "include")
        take("libyokedcache.so*" if self.options.shared else "libyokedcache.a", "lib", "lib")
        take("LICENSE", "share/doc/yokedcache", "licenses")
        take("THIRD-PARTY-NOTICES", "share/doc/yokedcache", "licenses")

    def package_info(self):
        # The same names as without Conan.
        self.cpp_info.set_property("cmake_target_name", "yokedcache::yokedcache")
        self.cpp_info.set_property("pkg_config_name", "yokedcache")
        self.cpp_info.libs = ["yokedcache"]
        if not self.options.shared:
            self.cpp_info.set_property("cmake_target_aliases", ["yokedcache::static"])
            # As yokedcache-static.pc says.
            self.cpp_info.system_libs = ["gcc_eh"] + (["util", "rt", "pthread", "m", "dl"] if self.options.libc == "gnu" else []) + ["c"]
