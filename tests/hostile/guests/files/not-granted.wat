;; A file that the manifest asks for and nobody granted.
;; kind: reporter
;; grants: files = ["reports/*"]
;; expect: ends may not use files `secrets/token`
(func (export "reporter#deliver") (param i32 i32 i32) (result i32)
  (call $append (text "secrets/token") (text "x")))
