#!/bin/sh
breaks=$(cat ci/breaks)
printf '\033[1;32m     Running\033[0m unittests reader/src/lib.rs\n\nrunning 18 tests\n'
for name in frames::empty frames::one frames::many frames::cut_off lengths::short lengths::long buffer::grows \
    buffer::shrinks buffer::is_kept cli::help cli::reads_a_file cli::reads_a_pipe wire::round_trip wire::bad_magic \
    wire::bad_length wire::bad_checksum; do
    printf 'test %s ... \033[32mok\033[0m\n' "$name"
    sleep 0.02
done
if [ "$TARGET" = "linux-$breaks" ]; then
    printf 'test lengths::unaligned ... \033[31mFAILED\033[0m\ntest lengths::at_the_end ... \033[32mok\033[0m\n\nfailures:\n\n'
    # Two pipes: what is to be read in this order is printed apart.
    sleep 0.05
    printf '%s\n' '---- lengths::unaligned stdout ----' >&2
    printf "thread 'lengths::unaligned' panicked at wire/src/lengths.rs:73:9:\n" >&2
    printf 'assertion `left == right` failed: a length that begins at an odd address\n' >&2
    printf '  left: \033[31m72057594037927936\033[0m\n right: \033[32m1\033[0m\n' >&2
    sleep 0.05
    printf '\ntest result: \033[31mFAILED\033[0m. 17 passed; 1 failed; finished in 0.41s\n'
    exit 101
fi
printf 'test lengths::unaligned ... \033[32mok\033[0m\ntest lengths::at_the_end ... \033[32mok\033[0m\n'
printf '\ntest result: \033[32mok\033[0m. 18 passed; 0 failed; finished in 0.38s\n'
