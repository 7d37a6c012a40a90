;; A log that is a path out of the store of the logs.
;; grants: commands = ["*"]
;; expect: ends the name of a log
(func (export "step#run") (param i32 i32) (result i32)
  (local $spec i32)
  (local.set $spec (call $argv (text "make") (text "x")))
  (call $spec.set-log (local.get $spec) (text "../../../etc/cron.d/x"))
  (call $run (local.get $spec)))
