;; A variable whose name has the value in it.
;; grants: commands = ["*"]
;; expect: ends the name of a variable
(func (export "step#run") (param i32 i32) (result i32)
  (local $spec i32)
  (local.set $spec (call $argv (text "make") (text "x")))
  (call $spec.set-env (local.get $spec) (text "LD_PRELOAD=/tmp/x") (text "y"))
  (call $run (local.get $spec)))
