#!/bin/sh
for unit in memchr-2.7.6 bytes-1.11.0 lantern-wire-0.4.2 lantern-reader-0.4.2 lantern-cli-0.4.2; do
    printf '\033[1;32m   Compiling\033[0m %s v%s\n' "${unit%-*}" "${unit##*-}"
    sleep 0.08
done
printf '\033[1;33mwarning\033[0m\033[1m: unused variable: `rest`\033[0m\n'
printf '  \033[1;34m-->\033[0m reader/src/frames.rs:118:13\n'
printf '   \033[1;34m|\033[0m\n\033[1;34m118\033[0m \033[1;34m|\033[0m         let rest = self.buffer.split_off(end);\n'
printf '   \033[1;34m|\033[0m             \033[1;33m^^^^\033[0m \033[1;33mhelp: prefix it with an underscore: `_rest`\033[0m\n'
printf '\033[1;32m    Finished\033[0m `test` profile [optimized] target(s) in 0.42s\n'
