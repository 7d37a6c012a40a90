;; A name with the pattern of a builder in it.
;; grants: commands = ["make"]
;; grants: secrets = ["token"]
;; expect: ends expected the name of a secret
(func (export "step#run") (param i32 i32) (result i32)
  (local $spec i32)
  (local.set $spec (call $argv (text "make") (text "x")))
  (call $spec.set-secret-env (local.get $spec) (text "TOKEN") (text "token@hello"))
  (call $run (local.get $spec)))
