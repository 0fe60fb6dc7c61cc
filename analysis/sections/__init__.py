"""The sections of the report. Each module has one public function, `section(data: ReportData) -> Section | Absent`, and
its title as `TITLE`. `analysis.report.SECTIONS` puts them in order; a new section is a module here and a line there."""
