;; Wants to be asked again in five hundred million years.
;; kind: change-source
;; expect: answers 18446744073709551615
(func (export "change-source#poll") (param i32 i32 i32 i32) (result i32)
  (i64.store (i32.const 152) (i64.const -1))
  (i32.const 128))
