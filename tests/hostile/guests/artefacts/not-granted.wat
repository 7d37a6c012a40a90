;; Publishes under a name that nobody granted.
;; grants: artefacts = ["dist/*"]
;; expect: ends may not use artefacts `other/app`
(func (export "step#run") (param i32 i32) (result i32)
  (call $artefacts.publish (text "build/app") (text "other/app") (i32.const 256))
  (call $stored))
