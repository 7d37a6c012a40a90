;; Runs a specification that it has given back.
;; grants: commands = ["*"]
;; expect: ends unknown handle index
(func (export "step#run") (param i32 i32) (result i32)
  (local $spec i32)
  (local.set $spec (call $argv (text "make") (text "all")))
  (call $spec.drop (local.get $spec))
  (call $run (local.get $spec)))
