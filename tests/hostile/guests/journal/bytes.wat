;; Starts refused commands of a megabyte without end: what was asked is kept.
;; grants: commands = ["make"]
;; leaves: command make
;; expect: ends more than 64 MiB in its journal
(func (export "step#run") (param i32 i32) (result i32)
  (local $spec i32)
  (drop (memory.grow (i32.const 20)))
  (memory.fill (i32.const 131072) (i32.const 97) (i32.const 900000))
  (local.set $spec (call $argv (text "make") (i32.const 131072) (i32.const 900000)))
  (loop $again (call $commands.run (local.get $spec) (i32.const 256)) (br $again)) unreachable)
