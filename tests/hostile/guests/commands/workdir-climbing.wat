;; A folder out of the one of the builder by way of it.
;; grants: commands = ["*"]
;; expect: ends a workdir inside the builder
(func (export "step#run") (param i32 i32) (result i32)
  (local $spec i32)
  (local.set $spec (call $argv (text "make") (text "x")))
  (call $spec.set-workdir (local.get $spec) (text "build/../../other"))
  (call $run (local.get $spec)))
