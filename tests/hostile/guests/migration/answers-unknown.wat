;; Answers with a result that is neither good nor bad.
;; kind: scheduler
;; call: migrate
;; expect: ends discriminant
(func (export "migration#migrate") (param i32 i32 i32 i32 i32 i32) (result i32)
  (i32.store8 (i32.const 128) (i32.const 7)) (i32.const 128))
