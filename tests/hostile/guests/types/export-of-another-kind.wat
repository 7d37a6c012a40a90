;; A component that exports what reporters export, with the manifest of a step.
;; expect: refused which exports
(component (instance $none) (export "capstan:plugin/reporter@wit" (instance $none)))
