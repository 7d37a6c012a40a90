;; Writes beside the names that were granted.
;; grants: artefacts = ["dist/*"]
;; expect: ends may not use artefacts `dist-other/app`
(func (export "step#run") (param i32 i32) (result i32)
  (call $artefacts.write (text "dist-other/app") (text "x") (i32.const 256))
  (call $stored))
