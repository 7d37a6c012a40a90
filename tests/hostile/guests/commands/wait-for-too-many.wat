;; Waits for the first of two thousand handles, all of one command.
;; leaves: command make x
;; grants: commands = ["*"]
;; expect: ends waits for 2000 commands
(func (export "step#run") (param i32 i32) (result i32)
  (local $spec i32)
  (local $at i32)
  (i32.store (i32.const 70000) (call $start (call $argv (text "make") (text "x"))))
  (local.set $at (i32.const 70004))
  (loop $again
    (i32.store (local.get $at) (i32.load (i32.const 70000)))
    (br_if $again (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 4))) (i32.const 78000))))
  (drop (call $commands.wait-any (i32.const 70000) (i32.const 2000))) (call $done))
