;; A secret that is granted for another builder.
;; grants: commands = ["make"]
;; grants: secrets = ["token@deploy"]
;; expect: ends may not use secrets
(func (export "step#run") (param i32 i32) (result i32)
  (local $spec i32)
  (local.set $spec (call $argv (text "make") (text "x")))
  (call $spec.set-secret-env (local.get $spec) (text "TOKEN") (text "token"))
  (call $run (local.get $spec)))
