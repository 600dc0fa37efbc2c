//! The wire format: header, frames, bodies, blocks, fields, check value.
//!
//! Source of truth: `monitor_core::wire`. Deliberately not here: how calls are made.

use core::hint::black_box;

use link_check::{any, bytes, consume};
use monitor_core::{
    vm::Findings,
    wire::{
        DecodeError, Frame, FrameFlags, FrameType, Header, Reader, Writer,
        blocks::{Block, BlockReader, BlockWriter, FieldReader, ImageError},
        checksum::crc32c,
        device_body, emit_definition, emit_device, emit_findings, emit_machine, emit_processor,
        emit_subchannel, machine_body, pages, parse_definition, parse_findings, processor_body,
        subchannel_body,
    },
};

use crate::calls::{calls, flags, operators, shows};

pub(crate) fn calls() {
    header();
    bodies();
    page_bodies();
    blocks();
    reader();
    writer();
    flags!(FrameFlags);
    operators!(FrameFlags);
}

fn header() {
    calls! {
        FrameType::code(any());
        FrameType::from_code(any());
        Header::emit(&any());
        Header::parse(&any());
        Header::frame_type(&any());
        Header::body_bytes(&any());
        DecodeError::new(any(), any());
        crc32c(any(), bytes());
    }
    shows!(DecodeError);
}

fn bodies() {
    let mut buffer: [u8; 64] = any();
    let mut findings: Findings = any();
    calls! {
        Frame::frame_type(&any());
        Frame::is_bulk(&any());
        Frame::emit(&any(), &mut buffer[..]);
        Frame::parse(any(), bytes());
        emit_definition(&any(), &mut buffer[..]);
        parse_definition(bytes());
        emit_device(any(), bytes(), &mut buffer[..]);
        device_body(bytes());
        emit_machine(any(), &mut buffer[..]);
        machine_body(bytes());
        emit_processor(any(), any(), &mut buffer[..]);
        processor_body(bytes());
        emit_subchannel(any(), &mut buffer[..]);
        subchannel_body(bytes());
        emit_findings(&findings, &mut buffer[..]);
        parse_findings(bytes(), &mut findings);
    }
}

fn page_bodies() {
    let mut buffer: [u8; 64] = any();
    calls! {
        pages::pages_body_bytes(any());
        pages::keys_body_bytes();
        pages::begin_pages(any(), &mut buffer[..]);
        pages::begin_keys(any(), &mut buffer[..]);
        pages::parse_run(bytes(), any());
        pages::keys_of(any(), bytes());
        pages::states_of(any(), bytes());
        pages::with_content(any(), bytes());
        pages::pages_of(bytes());
    }
}

fn blocks() {
    let mut buffer: [u8; 64] = any();
    let mut writer = BlockWriter::new(black_box(&mut buffer[..]));
    consume(BlockWriter::write(black_box(&mut writer), any(), |value| value.u32(any())));
    calls! {
        BlockWriter::length(&writer);
    }
    let mut reader = BlockReader::new(bytes());
    let block: Block<'_> = match BlockReader::next_block(black_box(&mut reader)) {
        Ok(Some(block)) => block,
        Ok(None) | Err(_) => return,
    };
    calls! {
        Block::number(&block);
        Block::fields(&block, any());
        Block::skip(&block);
    }
    shows!(ImageError);
    let mut fields = FieldReader::new(bytes());
    consume::<[u8; 5]>(FieldReader::bytes(black_box(&mut fields)));
    consume::<[u32; 5]>(FieldReader::u32s(black_box(&mut fields)));
    consume::<[u64; 5]>(FieldReader::u64s(black_box(&mut fields)));
    calls! {
        FieldReader::u8(&mut fields);
        FieldReader::u16(&mut fields);
        FieldReader::u32(&mut fields);
        FieldReader::u64(&mut fields);
    }
}

fn reader() {
    let mut reader = Reader::new(bytes());
    consume::<Result<[u8; 5], DecodeError>>(Reader::array(black_box(&mut reader), any()));
    consume(Reader::text::<24>(black_box(&mut reader), any()));
    consume(Reader::reserved::<5>(black_box(&mut reader)));
    calls! {
        Reader::u8(&mut reader, any());
        Reader::u16(&mut reader, any());
        Reader::u32(&mut reader, any());
        Reader::u64(&mut reader, any());
        Reader::rest(reader.clone());
        Reader::finish(reader);
    }
}

fn writer() {
    let mut buffer: [u8; 64] = any();
    let mut writer = Writer::new(black_box(&mut buffer[..]));
    Writer::text::<24>(black_box(&mut writer), black_box(&any()));
    calls! {
        Writer::bytes(&mut writer, bytes());
        Writer::u8(&mut writer, any());
        Writer::u16(&mut writer, any());
        Writer::u32(&mut writer, any());
        Writer::u64(&mut writer, any());
        Writer::finish(writer);
    }
}
