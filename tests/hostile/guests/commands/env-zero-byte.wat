;; A variable whose value has a zero byte in it.
;; grants: commands = ["*"]
;; expect: ends zero byte
(func (export "step#run") (param i32 i32) (result i32)
  (local $spec i32)
  (local.set $spec (call $argv (text "make") (text "x")))
  (call $spec.set-env (local.get $spec) (text "A") (text "x\00LD_PRELOAD=y"))
  (call $run (local.get $spec)))
