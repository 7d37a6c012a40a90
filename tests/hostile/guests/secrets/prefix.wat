;; The beginning of a granted name.
;; grants: commands = ["make"]
;; grants: secrets = ["token"]
;; expect: ends may not use secrets
(func (export "step#run") (param i32 i32) (result i32)
  (local $spec i32)
  (local.set $spec (call $argv (text "make") (text "x")))
  (call $spec.set-secret-env (local.get $spec) (text "TOKEN") (text "tok"))
  (call $run (local.get $spec)))
