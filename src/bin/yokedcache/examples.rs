//! Examples of each command, which `--help` and the manual page show.

pub const PING: &str = "\
Examples:
  yokedcache --url redis://localhost ping
  yokedcache --url memcached://h1,h2 --timeout 500ms ping";

pub const HEALTH: &str = "\
Examples:
  yokedcache --url redis://localhost health
  yokedcache --config cache.yaml --environment production --json health";

pub const STATS: &str = "\
Examples:
  yokedcache --url redis://localhost stats
  yokedcache --url redis://localhost stats --watch
  yokedcache --url memcached://h1,h2 --json stats --watch=5s";

pub const TOP: &str = "\
Examples:
  yokedcache --url redis://localhost top
  yokedcache --url memcached://h1,h2 top --interval 5s --count 12 >figures";

pub const BENCH: &str = "\
Examples:
  yokedcache --url redis://localhost bench
  yokedcache --url redis://localhost bench --clients 16 --duration 10s
  yokedcache --url redis://localhost bench --requests 100000 --in-flight 32
  yokedcache --url memcached://h1,h2 --json bench --many 50 --size 1024 \\
      --ratio 1:1";

pub const GET: &str = "\
Examples:
  yokedcache get user:1
  yokedcache get user:1 --output ada
  yokedcache --json get user:1";

pub const SET: &str = "\
Examples:
  yokedcache set user:1 Ada --ttl 5m --tag users
  yokedcache set page:1 - <page.html";

pub const DEL: &str = "\
Examples:
  yokedcache del user:1 user:2
  yokedcache del --escaped 'a key with a NUL: \\x00'";

pub const EXISTS: &str = "\
Examples:
  yokedcache exists user:1 && echo hit";

pub const TTL: &str = "\
Examples:
  yokedcache ttl user:1";

pub const EXPLAIN: &str = "\
Examples:
  yokedcache explain user:1
  yokedcache explain user:1 --tag users --tag admins";

pub const EXPIRE: &str = "\
Examples:
  yokedcache expire user:1 1h
  yokedcache expire user:1 never";

pub const KEYS: &str = "\
Examples:
  yokedcache keys
  yokedcache keys 'user:*' --limit 20
  yokedcache keys --tag users --tag admins";

pub const SEARCH: &str = "\
Examples:
  yokedcache search usr --limit 5
  yokedcache search usr --tag users --threshold 60";

pub const INVALIDATE: &str = "\
Examples:
  yokedcache invalidate --tag users --dry-run
  yokedcache invalidate --tag users --tag admins
  yokedcache invalidate --pattern 'user:*:page'";

pub const CLEAR: &str = "\
Examples:
  yokedcache --namespace users clear
  yokedcache --namespace users clear --yes";

pub const FLUSH: &str = "\
Examples:
  yokedcache --url 'redis://localhost?key_prefix=app' flush
  yokedcache --url 'redis://localhost?key_prefix=app' flush --yes";

pub const PUBLISH: &str = "\
Examples:
  yokedcache publish news 'hello world'
  yokedcache publish news - <message";

pub const SUBSCRIBE: &str = "\
Examples:
  yokedcache subscribe news
  yokedcache subscribe --pattern 'orders:*' --count 10";

pub const EVENTS: &str = "\
Examples:
  yokedcache --url 'redis://localhost?events=true' events
  yokedcache --config cache.yaml events --tag users --key 'user:*'";

pub const MIGRATE: &str = "\
Examples:
  yokedcache --url redis://old migrate --to-url redis://new --dry-run
  yokedcache --config old.yaml migrate --to-config new.yaml --rate 5000 \\
      --resume-file app.migration";

pub const CHECK: &str = "\
Examples:
  yokedcache --config cache.yaml config check
  yokedcache --url 'redis://localhost?near=2s' config check";

pub const MAN: &str = "\
Examples:
  yokedcache man | man -l -
  yokedcache man >/usr/local/share/man/man1/yokedcache.1";

pub const COMPLETIONS: &str = "\
Examples:
  source <(yokedcache completions bash)
  yokedcache completions bash \\
      >~/.local/share/bash-completion/completions/yokedcache
  yokedcache completions zsh >/usr/local/share/zsh/site-functions/_yokedcache
  yokedcache completions fish >~/.config/fish/completions/yokedcache.fish";
