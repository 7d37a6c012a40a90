;; Translates for ever.
;; kind: scheduler
;; call: migrate
;; expect: ends it ran for more than 300 ms
(func (export "migration#migrate") (param i32 i32 i32 i32 i32 i32) (result i32)
  (loop $again (br $again)) unreachable)
