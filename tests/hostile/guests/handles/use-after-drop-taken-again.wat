;; Runs a specification that it has given back, whose place another has taken: it gets the other, which is its own.
;; grants: commands = ["make"]
;; leaves: command make second
;; expect: answers Success
(func (export "step#run") (param i32 i32) (result i32)
  (local $spec i32)
  (local.set $spec (call $argv (text "make") (text "first")))
  (call $spec.drop (local.get $spec))
  (drop (call $argv (text "make") (text "second")))
  (call $run (local.get $spec)))
