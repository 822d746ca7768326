"""What makes WeasyPrint's file one for the archive, for everybody, and ready to be signed.

WeasyPrint writes PDF/A-3a. What it lacks is added here, to the objects of the file just before
they are written: the second flavour (PDF/UA-1, which its one ``pdf_variant`` can not name too),
page labels, what links lead to in words, and an empty signature field that is part of the
structure. The field has to be there before the signature: signing appends, and an appended
structure tree would be a change of the document.

Everything is a function of its arguments. References: ISO 19005-3 (PDF/A-3), ISO 14289-1
(PDF/UA-1), ISO 32000-1; PDF Association, TechNote 0001 for the extension schema.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Mapping
from functools import partial

import pydyf

#: The field that a signature goes into; ``reporting.signing`` fills it.
SIGNATURE_FIELD = "Signature"
#: What a reader hears of the field.
SIGNATURE_WORDS = "Digital signature of the issuer over the whole report"

#: PDF/A allows only properties that it knows or that the file itself describes.
_UA = b"""<rdf:Description rdf:about="" xmlns:pdfuaid="http://www.aiim.org/pdfua/ns/id/" \
pdfuaid:part="1" />
<rdf:Description rdf:about="" xmlns:pdfaExtension="http://www.aiim.org/pdfa/ns/extension/" \
xmlns:pdfaSchema="http://www.aiim.org/pdfa/ns/schema#" \
xmlns:pdfaProperty="http://www.aiim.org/pdfa/ns/property#">\
<pdfaExtension:schemas><rdf:Bag><rdf:li rdf:parseType="Resource">\
<pdfaSchema:schema>PDF/UA identification schema</pdfaSchema:schema>\
<pdfaSchema:namespaceURI>http://www.aiim.org/pdfua/ns/id/</pdfaSchema:namespaceURI>\
<pdfaSchema:prefix>pdfuaid</pdfaSchema:prefix>\
<pdfaSchema:property><rdf:Seq><rdf:li rdf:parseType="Resource">\
<pdfaProperty:name>part</pdfaProperty:name>\
<pdfaProperty:valueType>Integer</pdfaProperty:valueType>\
<pdfaProperty:category>internal</pdfaProperty:category>\
<pdfaProperty:description>Part of ISO 14289 that the file conforms to</pdfaProperty:description>\
</rdf:li></rdf:Seq></pdfaSchema:property>\
</rdf:li></rdf:Bag></pdfaExtension:schemas></rdf:Description>
"""
_END_OF_RDF = b"</rdf:RDF>"


def finish(
    pdf: pydyf.PDF,
    *,
    relationships: Mapping[str, str],
    targets: Mapping[str, str],
    signable: bool,
) -> None:
    """Complete ``pdf`` in place.

    ``relationships`` are those of the attachments by file name (Source, Data, …), ``targets`` what
    the anchors that links lead to are called; with ``signable`` it gets an empty signature field.
    """
    _say_accessible(pdf)
    _relate(pdf, relationships)
    _name_links(pdf, targets)
    pdf.catalog["PageLabels"] = pydyf.Dictionary(
        {"Nums": pydyf.Array([0, pydyf.Dictionary({"S": "/D"})])}
    )
    if signable:
        _add_signature_field(pdf)
    _compress(pdf)


def _at(pdf: pydyf.PDF, reference: bytes | str) -> pydyf.Object:
    return pdf.objects[int(reference.split()[0])]


def _say_accessible(pdf: pydyf.PDF) -> None:
    """PDF/UA-1 beside PDF/A-3a; the metadata stays readable without a decompressor (6.6.2.1)."""
    stream = _at(pdf, pdf.catalog["Metadata"])
    xmp = b"\n".join(stream.stream)
    if xmp.count(_END_OF_RDF) != 1:
        raise AssertionError("WeasyPrint's metadata is not what this code was written for")
    stream.stream = [xmp.replace(_END_OF_RDF, _UA + _END_OF_RDF)]
    stream.compress = False


def _relate(pdf: pydyf.PDF, relationships: Mapping[str, str]) -> None:
    """Each attachment's own relationship and one entry in AF.

    WeasyPrint finds relationships by the checksum of the bytes, so that two equal files share one,
    and lists every attachment twice.
    """
    for spec in pdf.objects:
        if isinstance(spec, pydyf.Dictionary) and spec.get("Type") == "/Filespec":
            spec["AFRelationship"] = f"/{relationships[spec['UF'].string]}"
    if "AF" in pdf.catalog:
        pdf.catalog["AF"] = pydyf.Array(dict.fromkeys(pdf.catalog["AF"]))


def _name_links(pdf: pydyf.PDF, targets: Mapping[str, str]) -> None:
    """ "Go to Slippage" rather than the anchor's "s-slippage"."""
    for link in pdf.objects:
        if isinstance(link, pydyf.Dictionary) and link.get("Subtype") == "/Link":
            anchor = link["Dest"].string
            link["Contents"] = pydyf.String(f"Go to {targets.get(anchor, anchor)}")


def _add_signature_field(pdf: pydyf.PDF) -> None:
    """An empty, invisible field on the first page, and its place in the structure.

    Without a visible rectangle it needs no appearance (ISO 19005-3, 6.3.3). AcroForm is an object
    of its own: signing then changes it and the field, and nothing else.
    """
    page_reference = pdf.page_references[0]
    page = _at(pdf, page_reference)
    root = _at(pdf, pdf.catalog["StructTreeRoot"])
    whole = _at(pdf, root["K"][0])
    parents = _at(pdf, root["ParentTree"])
    number = max(parents["Nums"][::2]) + 1

    field = pydyf.Dictionary(
        {
            "Type": "/Annot",
            "Subtype": "/Widget",
            "FT": "/Sig",
            "T": pydyf.String(SIGNATURE_FIELD),
            "TU": pydyf.String(SIGNATURE_WORDS),
            "Rect": pydyf.Array([0, 0, 0, 0]),
            "F": 4,  # printed, as PDF/A asks of every annotation
            "P": page_reference,
            "StructParent": number,
        }
    )
    pdf.add_object(field)
    page.setdefault("Annots", pydyf.Array()).append(field.reference)

    element = pydyf.Dictionary(
        {
            "Type": "/StructElem",
            "S": "/Form",
            "Pg": page_reference,
            "P": whole.reference,
            "Alt": pydyf.String(SIGNATURE_WORDS),
            "K": pydyf.Dictionary({"Type": "/OBJR", "Obj": field.reference, "Pg": page_reference}),
        }
    )
    pdf.add_object(element)
    whole["K"].append(element.reference)
    parents["Nums"].extend([number, element.reference])

    form = pydyf.Dictionary({"Fields": pydyf.Array([field.reference])})
    pdf.add_object(form)
    pdf.catalog["AcroForm"] = form.reference


def _compress(pdf: pydyf.PDF) -> None:
    """Compress every stream once; pydyf would do it for the identifier and again for the file.

    Compressed bytes must not end with a carriage return: with the line feed that follows it would
    read as one end of line, and the stream as a byte shorter than it says (6.1.7.1). They end with
    a checksum of the content: drawing operators get another blank, what has to be exact stays as
    it is.
    """
    drawn = {page["Contents"] for page in map(partial(_at, pdf), pdf.page_references)}
    for stream in pdf.objects:
        if not (isinstance(stream, pydyf.Stream) and stream.compress):
            continue
        stream.compress = False
        content = b"\n".join(_bytes(item) for item in stream.stream)
        packed = zlib.compress(content, 9)
        if packed.endswith(b"\r"):
            if stream.reference not in drawn and stream.extra.get("Subtype") != "/Form":
                continue
            packed = zlib.compress(content + b" ", 9)
        stream.stream = [packed]
        stream.extra["Filter"] = "/FlateDecode"


def _bytes(item: object) -> bytes:
    """An item of a stream as pydyf writes it."""
    written: bytes = pydyf._to_bytes(item)
    return written


def settled(pdf: pydyf.PDF, objects: int, written: bytes, identifier: bytes) -> bytes:
    """``written``, or ``pdf`` written again where one of the two streams that pydyf adds itself
    (the object stream and the cross-reference) ends with a carriage return.

    ``objects`` is how many there were before it was written. An empty object that nothing refers
    to changes both streams.
    """
    while b"\r\nendstream" in written:
        del pdf.objects[objects:]
        pdf.add_object(pydyf.Dictionary())
        objects += 1
        pdf.current_position = 0
        again = io.BytesIO()
        pdf.write(again, b"1.7", identifier, compress=True)
        written = again.getvalue()
    return written
